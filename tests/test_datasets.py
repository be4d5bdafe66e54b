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
    assert problems(data) == {"x/b.jpg": "size is another than the photo's"}
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
