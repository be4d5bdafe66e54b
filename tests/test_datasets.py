import csv
import json

import numpy as np
import pytest
from PIL import Image

from localization.datasets import Dataset, load, scenes
from saliency.errors import InputError
from tests.devkits import voc_object, voc_xml, write_photo, write_text


def boxes_of(data: Dataset) -> dict[str, list[tuple[str, list[float]]]]:
    return {a.source: [(label, box.tolist()) for label, box in zip(a.labels, a.boxes)] for a in data.annotations}


def problems(data: Dataset) -> dict[str, str]:
    return {note.source: note.problem.partition(":")[0] for note in data.notes}


@pytest.fixture
def ilsvrc(tmp_path):
    """A CLS-LOC tree: a PNG named .JPEG, a CMYK JPEG, a missing annotation, a missing photo."""
    data, xml = tmp_path / "Data" / "CLS-LOC", tmp_path / "Annotations" / "CLS-LOC"
    names = ["n01/n01_1", "n01/n01_2", "n02/n02_1", "n02/n02_2", "n02/n02_3"]
    for number, name in enumerate(names):
        options = [{"format": "PNG"}, {"mode": "CMYK"}, {}, {}, {}][number]
        write_photo(data / "train" / f"{name}.JPEG", (40, 50), number, **options)
        objects = [voc_object(name[:3], (1 + number, 1, 50, 40))]
        write_text(xml / "train" / f"{name}.xml", voc_xml(objects, (40, 50), name[4:]))
    (xml / "train" / "n02" / "n02_2.xml").unlink()
    (data / "train" / "n02" / "n02_3.JPEG").unlink()
    write_text(tmp_path / "ImageSets" / "CLS-LOC" / "train_loc.txt", "".join(f"{name} 1\n" for name in names))
    write_photo(data / "val" / "v_1.JPEG", (40, 50))
    write_text(xml / "val" / "v_1.xml", voc_xml([voc_object("n01", (1, 1, 9, 9))], (40, 50)))
    with open(tmp_path / "LOC_train_solution.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageId", "PredictionString"])
        rows.writerow(["n01_1", "n01 1 1 50 40 "])
        rows.writerow(["n01_2", "n01 2 1 50 40 n02 5 5 9 9 "])
        rows.writerow(["n02_1", "n02 3 1 50 "])
        rows.writerow(["n02_3", "n02 5 1 50 40 "])
    return tmp_path


def test_imagenet_xml(ilsvrc):
    data = load("imagenet", ilsvrc, split="train")
    assert boxes_of(data) == {
        "n01/n01_1": [("n01", [0, 0, 50, 40])],
        "n01/n01_2": [("n01", [1, 0, 50, 40])],
        "n02/n02_1": [("n02", [2, 0, 50, 40])],
    }
    assert problems(data) == {"n02/n02_2": "no annotation", "n02/n02_3": "no photo"}
    assert [image.shape for image in data.images] == [(40, 50, 3)] * 3
    assert boxes_of(load("imagenet", ilsvrc)) == {"v_1": [("n01", [0, 0, 9, 9])]}
    assert list(boxes_of(load("imagenet", ilsvrc, split="train", classes=["n02"]))) == ["n02/n02_1"]


def test_imagenet_kaggle(ilsvrc):
    (ilsvrc / "Annotations").rename(ilsvrc / "elsewhere")
    data = load("imagenet", ilsvrc, split="train")
    assert boxes_of(data) == {
        "n01/n01_1": [("n01", [0, 0, 50, 40])],
        "n01/n01_2": [("n01", [1, 0, 50, 40]), ("n02", [4, 4, 9, 9])],
    }
    assert problems(data) == {"n02/n02_1": "row without whole boxes", "n02/n02_3": "no photo"}
    with pytest.raises(InputError, match=r"neither Annotations/CLS-LOC/val nor LOC_val_solution\.csv"):
        load("imagenet", ilsvrc)


def test_imagenet_needs_its_folders(tmp_path):
    with pytest.raises(InputError, match="has no Data/CLS-LOC"):
        load("imagenet", tmp_path)


def test_tiny_imagenet(tmp_path):
    write_photo(tmp_path / "train" / "n01" / "images" / "n01_0.JPEG", (64, 64), mode="L")
    write_photo(tmp_path / "train" / "n01" / "images" / "n01_1.JPEG", (64, 64))
    write_text(tmp_path / "train" / "n01" / "n01_boxes.txt", "n01_0.JPEG\t0\t9\t63\t54\nn01_1.JPEG\t1\t2\tx\t4\n")
    write_photo(tmp_path / "val" / "images" / "val_3.JPEG", (64, 64))
    write_text(tmp_path / "val" / "val_annotations.txt", "val_3.JPEG\tn01\t5\t6\t7\t8\n")
    train = load("tiny_imagenet", tmp_path, split="train")
    assert boxes_of(train) == {"n01/images/n01_0.JPEG": [("n01", [0, 9, 64, 55])]}
    assert problems(train) == {"n01/images/n01_1.JPEG": "row without four numbers"}
    assert train[0].image.shape == (64, 64, 3)
    assert boxes_of(load("tiny_imagenet", tmp_path)) == {"images/val_3.JPEG": [("n01", [5, 6, 8, 9])]}
    with pytest.raises(InputError, match="split must be train or val"):
        load("tiny_imagenet", tmp_path, split="test")
    with pytest.raises(InputError, match="name the folder tiny-imagenet-200"):
        load("tiny_imagenet", tmp_path / "val")


def test_coco(tmp_path):
    write_photo(tmp_path / "val2017" / "a.jpg", (30, 40))
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "lost.jpg"}],
        "categories": [{"id": 1, "name": "zebra"}, {"id": 2, "name": "ant"}, {"id": 3, "name": "none"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [1.5, 2, 3, 4], "iscrowd": 0},
            {"image_id": 7, "category_id": 2, "bbox": [30, 20, 30, 5], "iscrowd": 1},
        ],
    }
    table = tmp_path / "annotations" / "instances_val2017.json"
    write_text(table, json.dumps(content))
    data = load("coco", tmp_path)
    assert boxes_of(data) == {"a.jpg": [("zebra", [1.5, 2, 4.5, 6]), ("ant", [30, 20, 40, 25])]}
    assert data.annotations[0].difficult.tolist() == [False, True]
    assert data.classes == ("zebra", "ant")  # COCO's order
    assert problems(data) == {"a.jpg": "box beyond the border", "lost.jpg": "no photo"}
    write_text(table, "{}")
    with pytest.raises(InputError, match="is no COCO instances file"):
        load("coco", tmp_path)
    with pytest.raises(InputError, match=r"needs annotations/instances_train\.json"):
        load("coco", tmp_path, split="train")


def test_wsol(tmp_path):
    folder = tmp_path / "metadata" / "CUB" / "test"
    write_photo(tmp_path / "dataset" / "CUB" / "x" / "a.jpg", (30, 40))
    write_photo(tmp_path / "dataset" / "CUB" / "x" / "b.jpg", (30, 40))
    write_text(folder / "image_ids.txt", "x/a.jpg\nx/b.jpg\n")
    write_text(folder / "class_labels.txt", "x/a.jpg,5\nx/b.jpg,6\n")
    write_text(folder / "image_sizes.txt", "x/a.jpg,40,30\nx/b.jpg,41,30\n")
    write_text(folder / "localization.txt", "x/a.jpg,1,2,3,4\nx/a.jpg,0,0,39,29\nx/b.jpg,1,2,3,4\n")
    data = load("wsol", tmp_path)
    assert boxes_of(data) == {"x/a.jpg": [("5", [1, 2, 4, 5]), ("5", [0, 0, 40, 30])]}
    assert problems(data) == {"x/b.jpg": "the stated size differs from the photo's"}
    assert boxes_of(load("wsol", tmp_path, split="CUB/test")) == boxes_of(data)
    with pytest.raises(InputError, match="needs one split, of CUB/test"):
        load("wsol", tmp_path, split="val")
    write_text(folder / "localization.txt", "x/a.jpg,1,2,3\n")
    with pytest.raises(InputError, match="line 1 must be str, float, float, float, float"):
        load("wsol", tmp_path)
    write_text(folder / "image_ids.txt", "../../../etc/passwd\n")
    write_text(folder / "localization.txt", "")
    with pytest.raises(InputError, match="leads out of"):
        load("wsol", tmp_path)


def test_folder(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    write_photo(tmp_path / "a" / "one.jpg", (30, 40), exif=exif)
    write_photo(tmp_path / "two.png", (30, 40))
    write_text(tmp_path / "notes.txt", "no photo")
    bare = load("folder", tmp_path)
    assert boxes_of(bare) == {"a/one.jpg": [], "two.png": []}
    assert [image.shape for image in bare.images] == [(40, 30, 3), (30, 40, 3)]  # as viewers show them
    assert list(boxes_of(load("folder", tmp_path, split="a"))) == ["a/one.jpg"]
    table = tmp_path / "boxes.csv"
    write_text(table, "file,x0,y0,x1,y1,label\na/one.jpg,0,0,30,40,cat\ntwo.png,1,1,2.5,3,dog\ngone.png,1,1,2,3,dog\n")
    for root in (tmp_path, table):
        data = load("folder", root)
        assert boxes_of(data) == {"a/one.jpg": [("cat", [0, 0, 30, 40])], "two.png": [("dog", [1, 1, 2.5, 3])]}
        assert problems(data) == {"gone.png": "no photo"}
    write_text(table, "file,x0,y0,x1,y1\n../../x.png,0,0,1,1\n")
    with pytest.raises(InputError, match="leads out of"):
        load("folder", tmp_path)
    write_text(table, "name\nx\n")
    with pytest.raises(InputError, match="must have the columns image, x0"):
        load("folder", tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        load("folder", tmp_path, split="b")


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no usable photo in folder all"):
        load("folder", tmp_path)
    with pytest.raises(InputError, match="is read from where it lies on disk"):
        load("voc", tmp_path / "none")
    with pytest.raises(InputError, match="name must be one of scenes, voc"):
        load("mnist")


def test_a_file_is_no_folder_of_a_data_set(tmp_path):
    write_text(tmp_path / "voc.zip", "")
    with pytest.raises(InputError, match=r"voc\.zip: is a file; name the folder that voc lies in, an archive unpacked"):
        load("voc", tmp_path / "voc.zip")


def test_scenes_in_the_common_type():
    data, drawn = load("scenes", split="val", limit=4, seed=3), scenes("val", 4, 3)
    assert (np.stack(list(data.images)) == drawn.images).all()
    assert [box for boxes in data.boxes for box in boxes.tolist()] == drawn.boxes.tolist()
    with pytest.raises(InputError, match="split must be one of train, val, test"):
        load("scenes", split="none")


def test_selections():
    data = load("scenes", limit=9)
    parts = data.split_by((75, 15, 10), seed=1)
    assert [len(part) for part in parts] == [7, 1, 1]
    assert sorted(a.source for part in parts for a in part.annotations) == [a.source for a in data.annotations]
    assert [a.source for a in data.split_by((75, 15, 10), seed=1)[0].annotations] == [
        a.source for a in parts[0].annotations
    ]
    assert (data.select([4]).images[0] == data[4].image).all()
    assert len(data.images[2:5]) == 3
    assert [example.annotation.source for example in data] == [a.source for a in data.annotations]


def coco_of(root, **changes):
    """Two photos of 80x60 px with one box each; `changes` replace the lists of the JSON."""
    for name in ("x/1.jpg", "y/1.jpg"):
        write_photo(root / "val" / name, (60, 80))
    content = {
        "images": [{"id": i, "file_name": f"{'xy'[i]}/1.jpg", "width": 80, "height": 60} for i in (0, 1)],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "bbox": [10, 5, 30, 45]},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [40, 30, 20, 20]},
        ],
        "categories": [{"id": 1, "name": "dog"}],
    }
    for part, change in changes.items():
        change(content[part])
    write_text(root / "annotations" / "instances_val.json", json.dumps(content))
    return load("coco", root)


def set_all(**values):
    """A change that sets keys of every entry, to a value or to what a function makes of it."""

    def change(entries):
        for entry in entries:
            entry.update({key: value(entry[key]) if callable(value) else value for key, value in values.items()})

    return change


TWO = {"x/1.jpg": [("dog", [10, 5, 40, 50])], "y/1.jpg": [("dog", [40, 30, 60, 50])]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, TWO),
        ({"images": set_all(id=str)}, TWO),
        ({"annotations": set_all(image_id=str, category_id=str)}, TWO),
        ({"annotations": set_all(image_id=float)}, TWO),
        ({"images": set_all(file_name=lambda name: f"./{name}")}, TWO),
        ({"images": set_all(file_name=lambda name: name.replace("/", "\\"))}, TWO),
        ({"images": set_all(width="80", height="60")}, TWO),
        ({"images": set_all(file_name=lambda name: f" {name} ")}, TWO),
        ({"annotations": set_all(bbox=lambda box: [str(side) for side in box])}, TWO),
        ({"images": set_all(file_name=lambda name: f"val/{name}")}, {f"val/{name}": box for name, box in TWO.items()}),
    ],
)
def test_coco_as_tools_write_it(tmp_path, changes, expected):
    data = coco_of(tmp_path, **changes)
    assert boxes_of(data) == expected and not data.notes


@pytest.mark.parametrize(
    ("changes", "left", "notes"),
    [
        ({"annotations": lambda a: a.append({"id": 3, "image_id": 0, "category_id": 1})}, 2,
         ["x/1.jpg: box without four numbers: dog (left out)"]),
        ({"annotations": lambda a: a[0].update(bbox=[1, 2, None, 4])}, 1,
         ["x/1.jpg: box without four numbers: dog (left out)"]),
        ({"annotations": lambda a: a[0].update(category_id=9)}, 1,
         ["x/1.jpg: object of no category that is listed: 9 (left out)"]),
        ({"annotations": lambda a: a[0].update(image_id=9)}, 1,
         ["annotation 0: annotation of a photo that is not listed: 9 (left out)"]),
        ({"annotations": lambda a: a.append(None)}, 2,
         ["annotation 2: broken annotation: it needs image_id (left out)"]),
        ({"images": lambda a: a.append({"id": 5})}, 2,
         ["image 2: broken entry of a photo: it needs id and file_name (left out)"]),
        ({"categories": lambda a: a.append({"id": 5})}, 2,
         ["category 1: broken category: it needs id and name (left out)"]),
        ({"categories": lambda a: a.append({"id": 5, "name": None})}, 2,
         ["category 1: broken category: it needs id and name (left out)"]),
        ({"categories": lambda a: a.append({"id": 1, "name": "cat"})}, 0,
         ["1: more than one name of a category: dog, cat (left out)",
          "x/1.jpg: object of no category that is listed: 1 (left out)",
          "y/1.jpg: object of no category that is listed: 1 (left out)"]),
        ({"images": lambda a: a.append({"id": 7, "file_name": "x/1.jpg", "width": 80, "height": 60})}, 2,
         ["x/1.jpg: listed more than once: 2 times (repaired)"]),
    ],
)  # fmt: skip
def test_what_is_broken_in_a_coco_file_is_left_out_alone(tmp_path, changes, left, notes):
    data = coco_of(tmp_path, **changes)
    assert [str(note) for note in data.notes] == notes
    assert sum(len(boxes) for boxes in data.boxes) == left and len(data) == 2


def test_two_photos_of_one_number_are_not_chosen_from(tmp_path):
    """The objects of one of them were drawn on both."""
    with pytest.raises(InputError, match="more than one photo with this number"):
        coco_of(tmp_path, images=set_all(id=1))


@pytest.mark.parametrize(("iscrowd", "difficult"), [(0, False), (1, True), ("0", False), ("1", True), (True, True)])
def test_crowds_as_text(tmp_path, iscrowd, difficult):
    """The text "0" was true, so that nothing but crowds was left to score."""
    data = coco_of(tmp_path, annotations=set_all(iscrowd=iscrowd))
    assert [flags.tolist() for flags in (a.difficult for a in data.annotations)] == [[difficult]] * 2


def test_coco_s_refusals_say_what_there_is(tmp_path):
    coco_of(tmp_path)
    with pytest.raises(InputError, match=r"needs annotations/instances_train\.json .*; it has the splits: val$"):
        load("coco", tmp_path, split="train")
    write_text(tmp_path / "annotations" / "instances_val.json", '{"images": []}')
    with pytest.raises(InputError, match="is no COCO instances file: it must hold the lists images, annotations"):
        load("coco", tmp_path)


def test_wsol_lists_with_blank_lines_broken_ones_and_two_labels(tmp_path):
    folder = tmp_path / "metadata" / "CUB" / "test"
    for name in ("a.jpg", "b.jpg", "c, d.jpg"):
        write_photo(tmp_path / "dataset" / "CUB" / name, (30, 40))
    write_text(folder / "image_ids.txt", "a.jpg\nb.jpg\nc, d.jpg\n\n  \n")
    write_text(folder / "class_labels.txt", "a.jpg,5\nb.jpg,6\nb.jpg,7\nc, d.jpg,8\n\n")
    write_text(folder / "image_sizes.txt", "a.jpg,80,60\nb.jpg,40,30\nc, d.jpg,40,30\n\n")
    write_text(folder / "localization.txt", "a.jpg,2,4,7,9\nc, d.jpg,1,2,3,4\nc, d.jpg,1,2,3\nz.jpg,1,2,3,4\n,\n")
    data = load("wsol", tmp_path)
    assert boxes_of(data) == {"a.jpg": [("5", [1, 2, 4, 5])], "c, d.jpg": [("8", [1, 2, 4, 5])]}
    assert [str(note) for note in data.notes] == [
        "b.jpg: more than one label: 6, 7 (left out)",
        "localization.txt line 3: broken line: it must be str, float, float, float, float, separated by commas"
        " (left out)",
        "a.jpg: annotated at another size: 80x60 (repaired)",
        "z.jpg: box of a photo that is not listed (left out)",
    ]


def test_kaggle_s_rows_of_one_photo_add_up(tmp_path):
    write_photo(tmp_path / "Data" / "CLS-LOC" / "val" / "v_1.JPEG", (40, 50))
    write_text(tmp_path / "LOC_val_solution.csv", "ImageId,PredictionString\nv_1,n01 1 1 9 9\nv_1,n02 2 2 8 8\n,\n")
    data = load("imagenet", tmp_path)
    assert boxes_of(data) == {"v_1": [("n01", [0, 0, 9, 9]), ("n02", [1, 1, 8, 8])]}
    assert [str(note) for note in data.notes] == ["v_1: listed more than once: 2 times (repaired)"]


CSVS = {
    "semicolons": "file;x0;y0;x1;y1;label\na.jpg;10;5;40;50;dog\n",
    "decimal commas": "file;x0;y0;x1;y1;label\na.jpg;10,0;5,0;40;50;dog\n",
    "tabs": "file\tx0\ty0\tx1\ty1\tlabel\na.jpg\t10\t5\t40\t50\tdog\n",
    "padded header": "file, x0, y0, x1, y1, label\na.jpg, 10, 5, 40, 50, dog\n",
    "padded cells": "file,x0,y0,x1,y1,label\n a.jpg , 10, 5, 40, 50, dog\n",
    "empty rows": "file,x0,y0,x1,y1,label\na.jpg,10,5,40,50,dog\n\n\n,,,,,\n",
    "class": "file,x0,y0,x1,y1,class\na.jpg,10,5,40,50,dog\n",
    "roboflow": "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,160,120,dog,20,10,80,100\n",
    "other case": "File,X0,Y0,X1,Y1,Label\nA.JPG,10,5,40,50,dog\n",
    "path": "image,x0,y0,x1,y1,label\nphotos/a.jpg,10,5,40,50,dog\n",
    "without suffix": "image,x0,y0,x1,y1,label\na,10,5,40,50,dog\n",
    "blank first lines": "\n  \nfile,x0,y0,x1,y1,label\na.jpg,10,5,40,50,dog\n",
    "paths of another machine": "file,x0,y0,x1,y1,label\n/home/me/a.jpg,10,5,40,50,dog\n",
    "addresses": "file,x0,y0,x1,y1,label\nhttps://example.org/p/a.jpg,10,5,40,50,dog\n",
    "a photo without objects": "file,x0,y0,x1,y1,label\na.jpg,10,5,40,50,dog\nb.jpg,,,,,\n",
}


@pytest.mark.parametrize("name", CSVS)
def test_boxes_of_a_folder_as_people_write_them(tmp_path, name):
    for photo in ("a.jpg", "b.jpg"):
        write_photo(tmp_path / photo, (60, 80))
    write_text(tmp_path / "boxes.csv", CSVS[name])
    data = load("folder", tmp_path)
    assert boxes_of(data) == {"a.jpg": [("dog", [10, 5, 40, 50])], "b.jpg": []}
    assert {note.problem for note in data.notes} <= {"annotated at another size: 160x120"}
    assert "1 photos without an object" in data.summary()


@pytest.mark.parametrize(
    ("numbers", "box_format", "says"),
    [
        ((0.125, 0.1, 0.5, 0.8), "normalised-xyxy", r"boxes\.csv: its numbers are shares of the photo"),
        ((10, 5, 30, 45), "xywh", None),
        (
            (70, 5, 10, 45),
            "xywh",
            r"boxes\.csv: corners run backwards, as x y width height would; say box_f",
        ),
        ((25, 27.5, 30, 45), "cxcywh", None),
        ((0.3125, 27.5 / 60, 0.375, 0.75), "normalised-cxcywh", "its numbers are shares of the photo"),
    ],
)
def test_other_formats_of_a_folder_s_boxes(tmp_path, numbers, box_format, says):
    write_photo(tmp_path / "a.jpg", (60, 80))
    write_text(tmp_path / "boxes.csv", f"file,x0,y0,x1,y1\na.jpg,{','.join(map(str, numbers))}\n")
    expected = [70, 5, 80, 50] if numbers[0] == 70 else [10, 5, 40, 50]
    read = load("folder", tmp_path, box_format=box_format).boxes[0].tolist()
    np.testing.assert_allclose(read, [expected if says is None or numbers[0] != 0.125 else [10, 6, 40, 48]])
    if says:
        with pytest.raises(InputError, match=says):
            load("folder", tmp_path)
    with pytest.raises(InputError, match=r"`box_format` is for the boxes\.csv of a folder"):
        load("coco", tmp_path, box_format=box_format)


def test_a_path_of_another_machine_whose_photo_is_not_here_is_noted(tmp_path):
    """It ended the reading."""
    write_photo(tmp_path / "a.jpg", (60, 80))
    write_text(
        tmp_path / "boxes.csv", "file,x0,y0,x1,y1\na.jpg,10,5,40,50\n/home/me/b.jpg,1,1,9,9\nC:\\b.jpg,1,1,9,9\n"
    )
    data = load("folder", tmp_path)
    assert boxes_of(data) == {"a.jpg": [("object", [10, 5, 40, 50])]}
    assert [str(note) for note in data.notes] == [
        "/home/me/b.jpg: no photo (left out)",
        "C:\\b.jpg: no photo (left out)",
    ]


def test_one_photo_is_a_data_set(tmp_path, monkeypatch):
    write_photo(tmp_path / "a.jpg", (60, 80))
    write_photo(tmp_path / "b.jpg", (60, 80))
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path / "a.jpg", str(tmp_path / "a.jpg"), "~/a.jpg"):
        data = load("folder", path)
        assert boxes_of(data) == {"a.jpg": []} and data[0].image.shape == (60, 80, 3)
    write_text(tmp_path / "c.jpg", "no photo")
    with pytest.raises(InputError, match=r"photo cannot be read, first in c\.jpg"):
        load("folder", tmp_path / "c.jpg")


def test_photos_of_formats_that_are_not_read_are_told(tmp_path):
    write_photo(tmp_path / "a.jpg", (60, 80))
    for name in ("b.heic", "c.AVIF", "notes.txt"):
        write_text(tmp_path / name, "?")
    data = load("folder", tmp_path)
    assert [str(note) for note in data.left_out] == [
        "b.heic: photo of a format that is not read: HEIC; save it as JPEG or PNG (left out)",
        "c.AVIF: photo of a format that is not read: AVIF; save it as JPEG or PNG (left out)",
    ]


def test_photos_of_unusual_depth_are_noted(tmp_path):
    Image.fromarray(np.linspace(0, 4095, 12).reshape(3, 4).astype(np.uint16)).save(tmp_path / "grey12in16.png")
    data = load("folder", tmp_path)
    assert data[0].image.max() == 255 and "deep pixels" in data.notes[0].problem


def test_reprs_are_short():
    assert repr(scenes("test", 3)) == "Scenes(test, seed 0: 3 images of 96x96 px with a digit each)"
    assert len(repr(load("scenes", limit=3))) < 100
    assert scenes("test", 3).classes[7] == "7"


@pytest.mark.real
def test_the_cases_that_were_reported(shared):
    """The files themselves, where they are at hand: each box where it belongs, or a note that says why not."""
    cases = shared / "cases"
    plain = [[[10, 5, 40, 50]]]
    for name in ("capitaltags", "flat", "idsext", "namespace", "twophotos", "windows"):
        data = load("voc", cases / "voc" / name)
        assert [box.tolist() for box in data.boxes] == plain and data[0].image.std() > 5, name
    with pytest.raises(InputError, match="XML is no VOC annotation"):
        load("voc", cases / "voc" / "notvoc")
    assert [box.tolist() for box in load("voc", cases / "roboflow").boxes] == plain
    for name in ("classcol", "emptyrows", "semicolon", "spacerows", "spaces"):
        assert [box.tolist() for box in load("folder", cases / "csv" / name).boxes] == plain, name
    for name, boxes in {"catstr": plain, "nobbox": plain, "exif": [[[5, 10, 50, 75]]]}.items():
        data = load("coco", cases / "coco" / name)
        assert [box.tolist() for box in data.boxes] == boxes and data[0].image.shape[:2] == data.annotations[0].size
    assert len({a.source for a in load("coco", cases / "coco" / "cams").annotations}) == 24
    assert len(load("coco", cases / "coco" / "samestem")) == 2
    grey = load("folder", cases / "quick" / "grey12in16.png")
    assert grey[0].image.max() > 200 and len(grey.notes) == 1
