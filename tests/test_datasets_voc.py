import tracemalloc

import numpy as np
import pytest
from PIL import Image

from localization.datasets import load
from localization.metrics import corloc, corloc_by_class
from localization.protocols import samples
from saliency import photos
from saliency.errors import InputError
from tests.devkits import voc_object, voc_xml, write_photo, write_text, write_voc


def one(tmp_path, xml: str, size=(60, 80)):
    """The annotation and notes of a devkit of a single photo."""
    write_voc(tmp_path, {"a": []}, size)
    write_text(tmp_path / "Annotations" / "a.xml", xml)
    data = load("voc", tmp_path)
    return data.annotations[0], [str(note) for note in data.notes]


# Photos of 80x60 pixels. Corners are VOC's: 1-based, inclusive.
HAND = {
    "1": [voc_object("cat", (1, 1, 40, 40))],
    "2": [voc_object("cat", (1, 1, 20, 20)), voc_object("cat", (41, 21, 80, 60))],  # two instances
    "3": [voc_object("cat", (11, 11, 30, 30)), voc_object("dog", (41, 11, 60, 30))],  # two classes
    "4": [voc_object("dog", (1, 1, 40, 60), difficult=True)],  # nothing but a difficult one
    "5": [voc_object("dog", (1, 1, 40, 60)), voc_object("dog", (51, 1, 80, 60), difficult=True)],
    "6": [voc_object("dog", (41, 31, 80, 60), truncated=True)],
    "7": [voc_object("cat", (61, 41, 100, 80))],  # beyond the border: 61..80 and 41..60 remain
    "8": [voc_object("dog", (21, 21, 40, 40), extra="<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>")],
}


def test_corloc_by_hand(tmp_path):
    write_voc(tmp_path / "VOC2007", HAND)
    data = load("voc", tmp_path)
    wanted = samples(data)
    assert list(zip([data.annotations[i].source for i in wanted.images], wanted.labels)) == [
        *(("1", "cat"), ("2", "cat"), ("3", "cat"), ("3", "dog")),
        *(("5", "dog"), ("6", "dog"), ("7", "cat"), ("8", "dog")),
    ]  # photo 4 has no object that counts
    predicted = np.array(
        [
            [0, 0, 40, 20],  # 1: half of the 40x40 box, IoU 800/1600 = 1/2: no hit, one with >=
            [40, 20, 80, 60],  # 2: the second instance, exactly: hit
            [10, 10, 30, 30],  # 3 cat: exactly: hit
            [10, 10, 30, 30],  # 3 dog: on the cat, IoU 0: no hit
            [50, 0, 80, 60],  # 5: on the difficult one, which does not count: IoU 0 with the other: no hit
            [40, 30, 80, 60],  # 6: truncated objects count: hit
            [60, 40, 80, 60],  # 7: on what lies inside the photo, 20x20: hit
            [20, 20, 40, 40],  # 8: the dog's own box, not its head's: hit
        ],
        float,
    )
    # cats: 2, 3, 7 of 1, 2, 3, 7: 3/4. dogs: 6, 8 of 3, 5, 6, 8: 2/4. Mean over classes 5/8.
    by_class = corloc_by_class(predicted, wanted.true, wanted.labels)
    assert {name: figure.value for name, figure in by_class.items()} == {"cat": 0.75, "dog": 0.5}
    assert corloc(predicted, wanted.true, wanted.labels, images=wanted.images).value == 0.625
    assert corloc(predicted, wanted.true, wanted.labels, strict=False).value == 0.75  # photo 1 too
    # with difficult ones: 5 is a hit, and photo 4 comes in as a miss at the same box
    all_of = samples(data, difficult=True)
    assert len(all_of) == 9
    with_four = np.insert(predicted, 4, [50, 0, 80, 60], axis=0)
    assert corloc(with_four, all_of.true, all_of.labels).value == pytest.approx((3 / 4 + 3 / 5) / 2)
    # without truncated ones photo 6 is gone: dogs 1 of 3
    assert len(samples(data, truncated=False)) == 7
    # one sample an object: two of photo 2's, each with its own box
    objects = samples(data, "object")
    assert (len(objects), [len(boxes) for boxes in objects.true]) == (9, [1] * 9)


def test_what_is_repaired_and_what_is_left_out(tmp_path):
    write_voc(tmp_path, HAND)
    data = load("voc", tmp_path)
    assert [str(note) for note in data.notes] == ["7: box beyond the border: cat (repaired)"]
    assert "repaired      1  box beyond the border, first in 7" in data.summary()
    assert data.annotations[6].boxes.tolist() == [[60, 40, 80, 60]]


@pytest.mark.parametrize(
    ("box", "expected", "note"),
    [
        ((30, 5, 10, 20), [[9, 4, 30, 20]], "corners in the wrong order: cat (repaired)"),
        ((0, 0, 10, 20), [[0, 0, 10, 20]], "box beyond the border: cat (repaired)"),
        ((81, 5, 99, 20), [], "box without area in the photo: cat (left out)"),
        ((5, 5, 5, 5), [[4, 4, 5, 5]], None),
        ((5.5, 5, 9, 9), [[4.5, 4, 9, 9]], "coordinates that are not whole: cat (kept)"),
        (("x", 5, 9, 9), [], "box without four numbers: cat (left out)"),
        (("nan", 5, 9, 9), [], "box without four numbers: cat (left out)"),
    ],
)
def test_boxes(tmp_path, box, expected, note):
    annotation, notes = one(tmp_path, voc_xml([voc_object("cat", box)]))
    assert annotation.boxes.tolist() == expected
    assert notes == ([f"a: {note}"] if note else [])


@pytest.mark.parametrize(
    ("objects", "size", "expected", "note"),
    [
        (["<object><name>cat</name></object>"], (60, 80), [], "object without a box: cat (left out)"),
        (["<object></object>"], (60, 80), [], "object without a name:  (left out)"),
        ([voc_object("cat", (1, 1, 8, 6))], None, [[0, 0, 8, 6]], "size missing: taken from the photo (repaired)"),
        ([voc_object("cat", (1, 1, 8, 6))], (0, 0), [[0, 0, 8, 6]], "size missing: taken from the photo (repaired)"),
        (
            [voc_object("cat", (3, 1, 8, 6))],  # pixels 2..8 of 160 are 1..4 of 80
            (120, 160),
            [[1, 0, 4, 3]],
            "annotated at another size: 160x120 (repaired)",
        ),
    ],
)
def test_annotations(tmp_path, objects, size, expected, note):
    annotation, notes = one(tmp_path, voc_xml(objects, size))
    assert annotation.boxes.tolist() == expected
    assert notes == [f"a: {note}"]


def test_photos_that_are_left_out(tmp_path):
    write_voc(tmp_path, {name: [] for name in ("good", "lost", "torn", "other", "bare", "broken", "bomb")})
    (tmp_path / "JPEGImages" / "lost.jpg").unlink()
    write_text(tmp_path / "JPEGImages" / "torn.jpg", "not a photo")
    write_text(tmp_path / "Annotations" / "other.xml", voc_xml([], (100, 100)))
    (tmp_path / "Annotations" / "bare.xml").unlink()
    write_text(tmp_path / "Annotations" / "broken.xml", "<annotation>")
    write_text(tmp_path / "Annotations" / "bomb.xml", '<!DOCTYPE a [<!ENTITY b "b">]><annotation>&b;</annotation>')
    data = load("voc", tmp_path)
    assert [a.source for a in data.annotations] == ["good"]
    assert {note.source: note.problem.partition(":")[0] for note in data.notes} == {
        "lost": "no photo",
        "torn": "photo cannot be read",
        "other": "the stated size differs from the photo's",
        "bare": "no annotation",
        "broken": "annotation is no plain XML",
        "bomb": "annotation is no plain XML",
    }
    assert all(note.outcome == "left out" for note in data.notes)


def test_the_xmls_own_file_name(tmp_path):
    write_voc(tmp_path, {"a": [], "b": []})
    write_text(tmp_path / "Annotations" / "a.xml", voc_xml([], filename="/etc/../b.jpg"))
    (tmp_path / "JPEGImages" / "a.jpg").unlink()
    data = load("voc", tmp_path)
    assert [str(note) for note in data.notes] == ["a: XML names another file: b.jpg (kept)"]
    assert (data.images[0] == data.images[1]).all()  # found in the folder of photos, nowhere else


def test_exif_where_the_annotation_was_made_on_the_turned_photo(tmp_path):
    write_voc(tmp_path, {"a": []})
    exif = Image.Exif()
    exif[0x0112] = 6
    write_photo(tmp_path / "JPEGImages" / "a.jpg", (60, 80), exif=exif)
    plain = load("voc", tmp_path)
    assert plain[0].image.shape == (60, 80, 3) and not plain.notes
    write_text(tmp_path / "Annotations" / "a.xml", voc_xml([voc_object("cat", (1, 1, 60, 80))], (80, 60)))
    turned = load("voc", tmp_path)
    assert turned[0].image.shape == (80, 60, 3)
    assert turned.annotations[0].size == (80, 60)
    assert "EXIF" in turned.notes[0].problem


def test_splits_classes_and_limit(tmp_path):
    write_voc(tmp_path, HAND)
    write_text(tmp_path / "ImageSets" / "Main" / "cat_trainval.txt", "1  1\n2  1\n4 -1\n5  0\n")
    assert [a.source for a in load("voc", tmp_path, split="cat_trainval").annotations] == ["1", "2", "5"]
    assert len(load("voc", tmp_path, split="all")) == 8
    dogs = load("voc", tmp_path, classes=["dog"])
    assert [a.source for a in dogs.annotations] == ["3", "4", "5", "6", "8"] and dogs.classes == ("dog",)
    assert dogs.annotations[0].labels == ("dog",) and len(dogs.annotations[0].boxes) == 1
    few = [[a.source for a in load("voc", tmp_path, limit=3, seed=seed).annotations] for seed in (0, 0, 1)]
    assert len(few[0]) == 3 and few[0] == few[1] != few[2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"split": "test"}, "no such split; there are: trainval, and 'all'"),
        ({"split": "../../secret"}, "leads out of"),
        ({"classes": ["cow"]}, "no object is of class cow; it has cat, dog"),
        ({"limit": 0}, "limit must be a whole number of at least 1"),
    ],
)
def test_errors(tmp_path, options, says):
    write_voc(tmp_path, HAND)
    with pytest.raises(InputError, match=says):
        load("voc", tmp_path, **options)


def test_folders_that_are_no_devkit(tmp_path):
    with pytest.raises(InputError, match="no folder with Annotations and JPEGImages"):
        load("voc", tmp_path)
    for year in ("VOC2007", "VOC2012"):
        write_voc(tmp_path / "VOCdevkit" / year, {"a": []})
    with pytest.raises(InputError, match="holds VOC2007, VOC2012; name one"):
        load("voc", tmp_path)
    assert len(load("voc", tmp_path / "VOCdevkit" / "VOC2012")) == 1


def test_ids_stay_inside_the_folder(tmp_path):
    write_voc(tmp_path / "kit", HAND)
    write_text(tmp_path / "kit" / "ImageSets" / "Main" / "bad.txt", "../../../etc/passwd\n")
    with pytest.raises(InputError, match="leads out of"):
        load("voc", tmp_path / "kit", split="bad")


def test_a_large_devkit_is_indexed_without_decoding_and_read_in_constant_memory(tmp_path, monkeypatch):
    """600 photos of 480 KB each once decoded, hard links of one file: never more than a few in memory."""
    write_photo(tmp_path / "JPEGImages" / "0.jpg", (400, 400))
    write_text(tmp_path / "Annotations" / "0.xml", voc_xml([voc_object("cat", (1, 1, 9, 9))], (400, 400)))
    for i in range(1, 600):
        for name in (f"JPEGImages/{i}.jpg", f"Annotations/{i}.xml"):
            (tmp_path / name).hardlink_to(tmp_path / name.replace(f"/{i}.", "/0."))
    with monkeypatch.context() as patch:
        patch.setattr(photos, "_rgb", lambda *_: pytest.fail("decoded while indexing"))
        data = load("voc", tmp_path, split="all")
    assert len(data) == 600
    tracemalloc.start()
    brightness = sum(int(example.image[0, 0, 0]) for example in data.select(range(0, 600, 15)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert brightness > 0 and peak < 5 * 480_000


DOG = "<name>dog</name><bndbox><xmin>11</xmin><ymin>6</ymin><xmax>40</xmax><ymax>50</ymax></bndbox>"
SIZE = "<size><width>80</width><height>60</height><depth>3</depth></size>"
BOX = [[10, 5, 40, 50]]


@pytest.mark.parametrize(
    ("photo", "annotation", "xml"),
    [
        ("a.jpg", "a.xml", f"<annotation>{SIZE}<object>{DOG}</object></annotation>"),
        ("images/a.jpg", "annotations/a.xml", f"\ufeff<annotation>{SIZE}<object>{DOG}</object></annotation>"),
        ("Images/a.JPG", "ANNOTATIONS/a.XML", f"<annotation>{SIZE}<object>{DOG}</object></annotation>"),
        ("images/a.jfif", "annotations/xmls/a.xml", f"<annotation>{SIZE}<object>{DOG}</object></annotation>"),
        ("train/a.jpg", "train/a.xml", f"<annotation>{SIZE}<object>{DOG}</object></annotation>"),
        ("JPEGImages/a.jpg", "Annotations/a.xml", f"<annotation>{SIZE}<Object>{DOG}</Object></annotation>"),
        ("JPEGImages/a.jpg", "Annotations/a.xml",
         f"<ANNOTATION>{SIZE.upper()}<OBJECT><NAME>dog</NAME>{DOG[16:].upper()}</OBJECT></ANNOTATION>"),
        ("JPEGImages/a.jpg", "Annotations/a.xml",
         f'<annotation xmlns="http://example.org/voc">{SIZE}<object>{DOG}</object></annotation>'),
        ("JPEGImages/a.jpg", "Annotations/a.xml",
         f"<annotation>{SIZE}<objects><object>{DOG}</object></objects></annotation>"),
        ("JPEGImages/a.jpg", "Annotations/a.xml",
         f"<annotation><filename>C:\\Users\\me\\a.jpg</filename>{SIZE}<object>{DOG}</object></annotation>"),
        ("JPEGImages/my.photo.jpg", "Annotations/my.photo.xml",
         f"<annotation><filename>my.photo</filename>{SIZE}<object>{DOG}</object></annotation>"),
        ("JPEGImages/a.jpg.png", "Annotations/a.jpg.xml",
         f"<annotation><filename>a.jpg.png</filename>{SIZE}<object>{DOG}</object></annotation>"),
    ],
    ids=["flat", "labelimg", "capital folders", "pets", "roboflow", "Object", "CAPITALS", "namespace", "nested",
         "windows", "dots", "two suffixes"],
)  # fmt: skip
def test_layouts_and_xml_as_tools_write_them(tmp_path, photo, annotation, xml):
    write_photo(tmp_path / photo, (60, 80), format="PNG")
    write_text(tmp_path / annotation, xml)
    data = load("voc", tmp_path)
    assert [box.tolist() for box in data.boxes] == [BOX] and data.classes == ("dog",)
    assert data[0].image.shape == (60, 80, 3) and not data.notes


def test_splits_are_the_folders_where_xml_lies_beside_photos(tmp_path):
    for name in ("train/a", "train/b", "valid/a"):
        write_photo(tmp_path / f"{name}.jpg", (60, 80))
        write_text(tmp_path / f"{name}.xml", f"<annotation>{SIZE}<object>{DOG}</object></annotation>")
    assert [a.source for a in load("voc", tmp_path).annotations] == ["train/a", "train/b", "valid/a"]
    assert [a.source for a in load("voc", tmp_path, split="valid").annotations] == ["valid/a"]
    assert [a.source for a in load("voc", tmp_path / "train").annotations] == ["a", "b"]
    with pytest.raises(InputError, match="no such split; there are: train, valid, all"):
        load("voc", tmp_path, split="test")


@pytest.mark.parametrize(
    ("xml", "problem"),
    [
        ("<html><body>Sign in</body></html>", "XML is no VOC annotation: its root is html"),
        ("<annotations><image/></annotations>", "XML is no VOC annotation: its root is annotations"),
    ],
)
def test_xml_of_something_else_is_no_photo_without_objects(tmp_path, xml, problem):
    write_voc(tmp_path, {"a": [], "b": [voc_object("cat", (1, 1, 9, 9))]})
    write_text(tmp_path / "Annotations" / "a.xml", xml)
    data = load("voc", tmp_path)
    assert [str(note) for note in data.notes] == [f"a: {problem} (left out)"] and len(data) == 1


@pytest.mark.parametrize("filename", ["a.jpg", "a", "", "pics/a.jpg"])
@pytest.mark.parametrize("mask", ["png", "PNG", "bmp"])
def test_a_mask_beside_its_photo_is_not_the_photo(tmp_path, filename, mask):
    """The last of the two in the alphabet was decoded."""
    write_photo(tmp_path / "JPEGImages" / "a.jpg", (60, 80), seed=1)
    Image.new("L", (80, 60)).save(tmp_path / "JPEGImages" / f"a.{mask}")
    xml = f"<annotation><filename>{filename}</filename>{SIZE}<object>{DOG}</object></annotation>"
    write_text(tmp_path / "Annotations" / "a.xml", xml)
    data = load("voc", tmp_path)
    assert data[0].image.std() > 10
    said = [f"a: several photos of that name, the JPEG is taken: a.{mask}, a.jpg (kept)"]
    assert [str(note) for note in data.notes] in ([], said, [said[0].replace(f"a.{mask}, a.jpg", f"a.jpg, a.{mask}")])
    assert bool(data.notes) == (not filename.endswith("a.jpg"))


def test_two_photos_of_one_name_are_not_chosen_from(tmp_path):
    write_voc(tmp_path, {"b": [voc_object("cat", (1, 1, 9, 9))]})
    for suffix in ("png", "webp"):
        write_photo(tmp_path / "JPEGImages" / f"a.{suffix}", (60, 80))
    write_text(tmp_path / "Annotations" / "a.xml", f"<annotation>{SIZE}<object>{DOG}</object></annotation>")
    data = load("voc", tmp_path, split="all")
    assert [str(note) for note in data.notes] == ["a: several photos of that name: a.png, a.webp (left out)"]


@pytest.mark.parametrize(
    ("lines", "ids"),
    [
        ("a.jpg\n  b  \n\n", ["a", "b"]),
        ("a\nmy photo\nphoto 1\n", ["a", "my photo", "photo 1"]),
        ("my photo.jpg\n", ["my photo"]),
        ("a  1\nb -1\nmy photo  0\nphoto 1  1\n", ["a", "my photo", "photo 1"]),
        ("a\na\na.jpg\n", ["a"]),
        ("\ufeffa\r\nb\r\n", ["a", "b"]),
        ("A\n", ["A"]),
        ("JPEGImages/a.jpg\n/home/me/VOC/JPEGImages/b.png\n", ["a", "b"]),
        ("JPEGImages\\my photo.jpg\n", ["my photo"]),
    ],
)
def test_lists_as_people_write_them(tmp_path, lines, ids):
    write_voc(tmp_path, {name: [voc_object("cat", (1, 1, 9, 9))] for name in ("a", "b", "my photo", "photo 1")})
    write_text(tmp_path / "ImageSets" / "Main" / "trainval.txt", lines)
    assert [a.source for a in load("voc", tmp_path).annotations] == ids


@pytest.mark.parametrize(
    ("text", "difficult", "notes"),
    [
        *(("True", True, 0), ("1", True, 0), ("yes", True, 0), ("False", False, 0), (" 0 ", False, 0), ("", False, 0)),
        *(("Unspecified", False, 0), ("perhaps", False, 1)),
    ],
)
def test_flags_as_tools_write_them(tmp_path, text, difficult, notes):
    """<difficult>True</difficult> was read as 0."""
    xml = f"<annotation>{SIZE}<object><difficult>{text}</difficult>{DOG}</object></annotation>"
    annotation, said = one(tmp_path, xml)
    assert annotation.difficult.tolist() == [difficult] and len(said) == notes


def test_labels_that_differ_in_spelling_alone_are_told(tmp_path):
    """They are two classes, over which a mean is taken."""
    write_voc(tmp_path, {"a": [voc_object(name, (1, 1, 9, 9)) for name in ("Guinea pig", "guinea_pig", "dog")]})
    data = load("voc", tmp_path)
    assert [str(note) for note in data.notes] == [
        "Guinea pig: labels that differ in spelling alone: Guinea pig, guinea_pig (kept)"
    ]
    assert load("voc", tmp_path, classes=["Guinea-Pig"]).classes == ("Guinea pig", "guinea_pig")


def test_a_folder_without_lists_is_read_whole(tmp_path):
    """A Pets-like folder took several refusals until `--split all` was found."""
    write_voc(tmp_path, {"a": [voc_object("cat", (1, 1, 9, 9))]}, split="train")
    with pytest.raises(InputError, match="no such split; there are: train, and 'all'"):
        load("voc", tmp_path)
    (tmp_path / "ImageSets" / "Main" / "train.txt").unlink()
    (tmp_path / "ImageSets" / "Main").rmdir()
    data = load("voc", tmp_path)
    assert (data.split, len(data)) == ("all", 1)
    assert repr(data) == f"Dataset({tmp_path.name} all: 1 photos, 1 objects (0 difficult), 1 classes)"
    assert repr(data.annotations[0]) == "Annotation('a', 80x60 px, 1 objects: cat)"
    assert repr(data[0]) == f"Example(uint8 [60, 80, 3], {data.annotations[0]!r})"
    assert repr(data.images) == "Photos(1, each decoded when asked for)"
    assert data.labels == [("cat",)]


def test_lists_in_another_place_or_case(tmp_path):
    write_voc(tmp_path, {"12:30": [voc_object("cat", (1, 1, 9, 9))], "b": []})
    (tmp_path / "ImageSets" / "Main" / "trainval.txt").unlink()
    write_text(tmp_path / "ImageSets" / "Main" / "Trainval.TXT", "12:30\n")
    assert [a.source for a in load("voc", tmp_path).annotations] == ["12:30"]
    (tmp_path / "ImageSets" / "Main" / "Trainval.TXT").rename(tmp_path / "ImageSets" / "val.txt")
    (tmp_path / "ImageSets" / "Main").rmdir()
    assert [a.source for a in load("voc", tmp_path, split="val").annotations] == ["12:30"]


def test_objects_that_are_stated_twice_are_told(tmp_path):
    """They would count twice where each object is a sample."""
    write_voc(tmp_path, {"a": [voc_object("cat", (1, 1, 9, 9))] * 2 + [voc_object("dog", (1, 1, 9, 9))]})
    data = load("voc", tmp_path)
    assert [str(note) for note in data.notes] == ["a: objects that are stated twice, with the same box (kept)"]
    assert data.labels == [("cat", "cat", "dog")]
