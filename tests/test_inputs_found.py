"""Files that people have, found by trying: each was read wrong without a word, or ended in a refusal that need not be.

Where the right value can be had it is held here; else one sentence that says what to do.
"""

import json
import struct
import zlib
from functools import partial

import numpy as np
import pytest
from PIL import Image

from localization.boxes_file import boxes_of, read_boxes
from localization.datasets import load
from localization.external import external_maps
from saliency import InputError, load_network
from saliency._names import near_names
from saliency._reading import number_in, read_map, read_text
from saliency.models.checkpoints import exported, imported, own
from saliency.models.classes import read_classes
from saliency.photos import decode_photo
from saliency.zeiler_fergus.subjects import chosen_class
from scripts import cli, robustness
from tests.devkits import write_photo, write_text
from tests.refusals import refused

BOX = [1.0, 2.0, 30.0, 40.0]
HEAD = "file,x0,y0,x1,y1,label\n"


@pytest.fixture
def photos(tmp_path):
    for name in ("a", "b"):
        write_photo(tmp_path / f"{name}.jpg", (60, 80))
    return tmp_path


def boxes(data) -> dict[str, tuple[tuple[str, ...], list]]:
    return {a.source: (a.labels, a.boxes.tolist()) for a in data.annotations}


@pytest.mark.parametrize(
    "text",
    [
        "file,x0,y0,x1,y1,class_name\na.jpg,1,2,30,40,dog\n",  # the label was lost, and "object" taken
        "image_path,xmin,ymin,xmax,ymax,category_name\nx/a.jpg,1,2,30,40,dog\n",
        "ImageID,LabelName,Confidence,XMin,XMax,YMin,YMax\na,dog,1,1,30,2,40\n",  # Open Images' order
        "filename,label,xtl,ytl,xbr,ybr\na.jpg,dog,1,2,30,40\n",  # CVAT's names
        "File Name,x min,y min,x max,y max,Class\na.jpg,1,2,30,40,dog\n",
        "file,class,class_name,x0,y0,x1,y1\na.jpg,7,dog,1,2,30,40\n",  # a number and a name
    ],
)
def test_columns_by_any_name(photos, text):
    write_text(photos / "boxes.csv", text)
    assert boxes(load("folder", photos))["a.jpg"] == (("dog",), [BOX])


def test_excels_unicode_text(photos):
    (photos / "boxes.csv").write_bytes((HEAD + "a.jpg,1,2,30,40,dog\n").replace(",", "\t").encode("utf-16"))
    assert boxes(load("folder", photos))["a.jpg"] == (("dog",), [BOX])
    (photos / "boxes.csv").write_bytes((HEAD + "a.jpg,1,2,30,40,Hündchen\n").encode("cp1252"))
    assert "save it as UTF-8" in refused(lambda: read_text(photos / "boxes.csv"))


@pytest.mark.parametrize("text", ["1,024", "1_0", "-3,500"])
def test_numbers_of_two_meanings_are_none(photos, text):
    """1,024 pixels were 1.024."""
    assert number_in(text) is None and number_in("10,5") == 10.5 and number_in("0,125") == 0.125
    write_text(photos / "boxes.csv", f'{HEAD}a.jpg,0,0,"{text}",60,dog\nb.jpg,1,2,30,40,dog\n')
    data = load("folder", photos)
    assert boxes(data)["a.jpg"] == ((), []) and [note.problem for note in data.notes] == ["row without four numbers"]


@pytest.mark.parametrize("word", ["None", "NA", "n/a", "null", "NaN", "-"])
def test_words_for_no_box(tmp_path, word):
    write_text(tmp_path / "b.csv", f"image,x0,y0,x1,y1\na,{word},{word},{word},{word}\nb,1,2,30,40\n")
    found = boxes_of(read_boxes(tmp_path / "b.csv"), ["a", "b"], ["", ""], [(60, 80)] * 2, source="b.csv")
    assert np.isnan(found.boxes[0]).all() and found.boxes[1].tolist() == BOX


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "0 0.5 0.5 0.2 0.3\n"),  # YOLO
        ("labels/a.txt", "0 0.5 0.5 0.2 0.3\n"),
        ("a.json", json.dumps({"shapes": [{"label": "dog", "points": [[1, 2], [30, 40]]}]})),  # LabelMe
        ("a.xml", "<annotation/>"),
        ("_annotations.coco.json", "{}"),
        ("train_labels.csv", "filename,xmin,ymin,xmax,ymax,class\na.jpg,1,2,30,40,dog\n"),
    ],
)
def test_boxes_beside_photos_are_not_passed_over(photos, name, text):
    """A folder of annotated photos was one of photos without objects, "nothing left out"."""
    write_text(photos / name, text)
    data = load("folder", photos)
    assert [(note.source, note.problem.partition(":")[0]) for note in data.notes] == [(name, "boxes that are not read")]
    write_text(photos / "boxes.csv", HEAD + "a.jpg,1,2,30,40,dog\n")
    assert not load("folder", photos).notes


def test_other_text_beside_photos_is_no_annotation(photos):
    write_text(photos / "classes.csv", "index,name\n0,dog\n")
    write_text(photos / "readme.txt", "by me")
    assert not load("folder", photos).notes


@pytest.mark.parametrize("suffix", [".pnm", ".pbm", ".apng", ".pjpeg", ".mpo"])
def test_more_suffixes_of_photos(photos, suffix):
    """They were passed over without a word."""
    kind = {".pnm": "PPM", ".pbm": "PPM", ".apng": "PNG"}.get(suffix, "JPEG")
    Image.new("1" if suffix == ".pbm" else "RGB", (8, 6)).save(photos / f"c{suffix}", kind)
    data = load("folder", photos)
    assert len(data) == 3 and data.images[2].shape == (6, 8, 3) and not data.notes


@pytest.mark.parametrize("name", ["c", "c.jpg_large", "c.jpg ", "c.tga", "c.j2k", "c.cr3"])
def test_photos_that_are_not_read_are_told(photos, name):
    Image.new("RGB", (8, 6)).save(photos / name, "JPEG")
    data = load("folder", photos)
    assert len(data) == 2 and [(note.source, note.outcome) for note in data.notes] == [(name, "left out")]


def png(values: np.ndarray) -> bytes:
    """16 bits a colour; [h, w, 2], [h, w, 3] or [h, w, 4]."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("opaque", [4095, 65535])
def test_opacity_of_12_bits_in_16(channels, opaque):
    """Opaque in 12 bits was all but transparent, and the photo white."""
    ramp = np.linspace(0, 4095, 64).reshape(8, 8, 1)
    photo = decode_photo(png(np.concatenate([np.tile(ramp, channels - 1), np.full((8, 8, 1), opaque)], 2)), "x")
    assert np.abs(photo - ramp * (255 / 4095)).max() <= 17


def test_too_few_bits_of_16_are_refused():
    """Of 10 bits two are left, which made four shades of a photo."""
    assert "x: damaged image (of 16 bits a colour 10 are in use at most" in refused(
        partial(decode_photo, png(np.full((8, 8, 3), 800)), "x")
    )
    assert not decode_photo(png(np.zeros((8, 8, 3))), "x").any()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", 'nc: 2\nnames: ["cat", "dog"]\n'),  # the names were 'nc: 2' and 'names: ["cat"'
        ("data.yaml", "path: x\nnames:\n  0: cat\n  1: dog\nnc: 2\n"),
        ("data.yml", "names:\n- cat\n- 'dog'\n"),
        ("labels.txt", '["cat", "dog"]'),
        ("labels.txt", '{"0": "cat", "1": "dog"}'),
        ("labels.txt", "index,name\n0,cat\n1,dog\n"),  # the names were index, 0, 1
        ("labels.txt", "1 cat\n2 dog\n"),
        ("labels.txt", "1. cat\n2. dog\n"),
        ("labels.txt", '"cat",\n"dog"\n'),
        ("labels.csv", "class_id,class_name\n0,cat\n1,dog\n"),
        ("labels.csv", "id,label\n0,cat\n1,dog\n"),
        ("labels.json", '{"names": ["cat", "dog"]}'),
    ],
)
def test_lists_of_classes(tmp_path, name, text):
    write_text(tmp_path / name, text)
    assert read_classes(tmp_path / name).names == ("cat", "dog")


def test_lists_of_classes_that_are_none(tmp_path):
    write_text(tmp_path / "map.pbtxt", "item {\n  id: 1\n  name: 'cat'\n}\n")
    assert "map.pbtxt: a label map of TensorFlow is not read" in refused(lambda: read_classes(tmp_path / "map.pbtxt"))
    write_text(tmp_path / "x.yaml", "train: images\nnc: 2\n")
    assert "x.yaml: holds no class names under names:" in refused(lambda: read_classes(tmp_path / "x.yaml"))
    (tmp_path / "wide.txt").write_bytes("cat\r\ndog\r\n".encode("utf-16"))
    assert read_classes(tmp_path / "wide.txt").names == ("cat", "dog")


def coco(root, names, there):
    for name in there:
        write_photo(root / "val" / name, (60, 80))
    entries = [{"id": i, "file_name": name, "width": 80, "height": 60} for i, name in enumerate(names)]
    found = [{"image_id": i, "category_id": 1, "bbox": [1, 2, 29, 38 - i]} for i in range(len(names))]
    content = {"images": entries, "annotations": found, "categories": [{"id": 1, "name": "dog"}]}
    write_text(root / "annotations" / "instances_val.json", json.dumps(content))
    return load("coco", root, split="val")


@pytest.mark.parametrize(
    "name", ["/home/me/val/a.jpg", r"C:\data\val\a.jpg", "images/a.jpg", "https://example.org/x/a.jpg"]
)
def test_coco_paths_of_another_machine(tmp_path, name):
    """One of them refused the whole data set, another left its photos out."""
    assert boxes(coco(tmp_path, [name], ["a.jpg"])) == {"a.jpg": (("dog",), [BOX])}


def test_coco_paths_that_end_alike(tmp_path):
    """The longest end that is there decides; what two paths may mean is left out."""
    data = coco(tmp_path, ["/d/x/1.jpg", "/d/y/1.jpg"], ["x/1.jpg", "y/1.jpg"])
    assert {a.source: a.boxes[0, 3] for a in data.annotations} == {"x/1.jpg": 40, "y/1.jpg": 39}
    data = coco(tmp_path / "one", ["/d/x/2.jpg", "/d/y/2.jpg", "3.jpg"], ["2.jpg", "3.jpg"])
    assert [a.source for a in data.annotations] == ["3.jpg"]
    assert {note.problem for note in data.left_out} >= {"path that ends as another: 2.jpg"}


def test_a_file_of_several_arrays_is_no_map(tmp_path):
    """The first of them was taken for one, boxes [n, 4] too."""
    maps = {"boxes": np.ones((5, 4)), "saliency": np.eye(6)}
    np.savez(tmp_path / "a.npz", **maps)
    assert "a.npz: holds several arrays (boxes, saliency); keep one" in refused(lambda: read_map(tmp_path / "a.npz"))
    np.savez(tmp_path / "a.npz", boxes=maps["boxes"], map=np.eye(6))
    assert read_map(tmp_path / "a.npz").shape == (6, 6)


def test_two_files_of_one_map(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(6))
    np.savez(tmp_path / "a.npz", np.eye(6))
    assert "there is a.npz too" in refused(lambda: external_maps(tmp_path, ["a"], [(6, 6)]))


def test_weights_of_integers_are_refused():
    """Quantised ones were taken at their face value."""
    net = load_network("scenes_cnn")
    scheme = own("scenes_cnn", net.preprocess)
    whole = exported(net.architecture, scheme, net.weights)
    imported(net.architecture, scheme, whole, "net.safetensors")
    quantised = {name: (values * 50).astype(np.int8) for name, values in whole.items()}
    said = refused(partial(imported, net.architecture, scheme, quantised, "net.safetensors"))
    assert "holds int8: quantised weights mean nothing without their scales" in said


def test_a_class_that_is_nearly_called_so():
    """analyze_occlusion named none, and a name in capitals met none."""
    classes = ["kite", "Pekinese", "tench"]
    with pytest.raises(InputError, match="or a class name, not 'KITES'; near it are kite"):
        chosen_class("KITES", np.ones(3), classes)
    assert near_names("zzz", classes) == ""


def test_an_options_own_refusal_is_one_sentence(capsys):
    """It stood in a box with the name of a field that nobody typed."""
    said = refused(lambda: cli.parse(robustness.Options, ["--families", "clouds"]))
    assert said.startswith("unknown family 'clouds'")
    with pytest.raises(SystemExit):
        cli.parse(robustness.Options, ["--nonsense"])
    shown = capsys.readouterr()
    assert "nonsense" in shown.err + shown.out
