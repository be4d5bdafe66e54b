"""Any reader against each kind of trouble: turned, resized, listed twice, written in another case, broken.

Photos are dark but for one bright box, so that a box in the wrong place shows.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from localization.datasets import Dataset, load
from localization.datasets.loading import READERS
from localization.datasets.views import View, view
from saliency import InputError
from saliency.photos import Header
from tests.layouts import LAYOUTS, Layout, Photo, bright

NAMES = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
PLAIN = [Photo("a", (3, 5, 20, 17)), Photo("b", (0, 0, 40, 9)), Photo("c", (11, 2, 39, 30))]


def read(layout: Layout, root: Path, photos=PLAIN, **options) -> Dataset:
    layout.write(root, photos)
    return load(layout.reader, root, **options)


def notes(data: Dataset) -> set[tuple[str, str]]:
    return {(note.problem.partition(":")[0], note.outcome) for note in data.notes}


def all_bright(data: Dataset) -> bool:
    """Every photo has one box, and that is where it is bright."""
    assert len({a.source for a in data.annotations}) == len(data)
    assert all(image.shape == (*a.size, 3) for image, a in zip(data.images, data.annotations))
    return all(len(a.boxes) == 1 and bright(image, a.boxes[0]) for image, a in zip(data.images, data.annotations))


@st.composite
def photos(draw, **fixed):
    height, width = draw(st.integers(8, 24)), draw(st.integers(8, 24))
    x0, y0 = draw(st.integers(0, width - 3)), draw(st.integers(0, height - 3))
    x1, y1 = draw(st.integers(x0 + 2, width)), draw(st.integers(y0 + 2, height))
    return Photo("a", (x0, y0, x1, y1), (height, width), draw(st.integers(1, 8)), **fixed)


def test_no_reader_is_forgotten():
    """TensorFlow's data sets need that library, and tests/test_tfds.py has theirs."""
    assert {layout.reader for layout in LAYOUTS.values()} == READERS.keys() - {"tfds"}


@NAMES
def test_plain(layout, tmp_path):
    data = read(layout, tmp_path)
    assert len(data) == 3 and all_bright(data) and not data.notes and data.classes == ("n01",)


@NAMES
@settings(deadline=None, max_examples=25)
@given(photo=st.booleans().flatmap(lambda upright: photos(upright=upright)), scale=st.sampled_from([1, 1, 2, 3]))
def test_turned_and_resized(layout, photo, scale):
    """The stated size says on which photo a box was drawn; where it cannot, the layout's own rule, and a note."""
    height, width = photo.size
    fits_one_way = height != width if scale == 1 else abs((height / width) ** 2 - 1) >= 0.02
    told = layout.stated and photo.orientation >= 5 and fits_one_way
    upright = photo.upright if told else layout.exif
    own = Photo(photo.name, photo.box, photo.size, photo.orientation, upright, scale if layout.stated else 1)
    with tempfile.TemporaryDirectory() as folder:
        data = read(layout, Path(folder), [own])
        assert all_bright(data), (own, data.notes)
    if layout.stated and (scale > 1 or photo.orientation >= 5) and not (scale == 1 and upright == layout.exif):
        assert data.notes
    if not told and photo.orientation > 1 and not layout.exif:
        assert any("EXIF would turn" in problem for problem, _ in notes(data)), data.notes


@NAMES
def test_a_size_that_is_no_size_of_the_photo(layout, tmp_path):
    if not layout.stated:
        pytest.skip("states no size")
    layout.write(tmp_path, PLAIN)
    wide = Photo("b", (0, 0, 40, 9), (30, 60))
    layout.write(tmp_path / "other", [wide])
    for path in (tmp_path / "other").rglob("b.*"):
        if path.suffix in (".png", ".JPEG"):
            os.replace(path, tmp_path / path.relative_to(tmp_path / "other"))
    for path in sorted((tmp_path / "other").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (tmp_path / "other").rmdir()
    data = load(layout.reader, tmp_path)
    assert len(data) == 2 and all_bright(data)
    assert notes(data) == {("the stated size differs from the photo's", "left out")}
    assert [note.source for note in data.left_out] == [note.source for note in data.notes]


@NAMES
def test_listed_twice(layout, tmp_path):
    """One photo remains one, and does not count twice."""
    layout.write(tmp_path, PLAIN)
    for name, head in layout.lists:
        path = tmp_path / name
        if path.suffix == ".json":
            content = json.loads(path.read_text())
            twice = [{**entry, "id": entry["id"] + 100} for entry in content["images"]]
            path.write_text(json.dumps(content | {"images": content["images"] + twice}))
        else:
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(lines + lines[head:]))
    data = load(layout.reader, tmp_path)
    assert [len({a.source for a in data.annotations}), len(data)] == [3, 3]
    if layout.lists and layout.reader != "folder":  # there, a line is an object
        assert ("listed more than once", "repaired") in notes(data)


@NAMES
def test_photos_of_one_name_in_two_folders(layout, tmp_path):
    """The last part of a path, and a name without suffix, are no ids."""
    twins = [Photo("x/000", (1, 2, 9, 9)), Photo("y/000", (20, 10, 33, 30)), Photo("000", (5, 5, 30, 30))]
    if layout.reader == "tiny_imagenet":
        twins = twins[2:]
    data = read(layout, tmp_path, twins)
    assert len(data) == len(twins) and all_bright(data) and not data.notes


@NAMES
@pytest.mark.parametrize("change", [str.upper, lambda name: name.replace("a", "A")], ids=["all", "stem"])
def test_another_case_on_disk(layout, tmp_path, change):
    """As on systems where case does not count, on which the lists were written."""
    layout.write(tmp_path, PLAIN)
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file() and path.suffix in (".png", ".JPEG"):
            path.rename(path.with_name(change(path.name)))
    data = load(layout.reader, tmp_path)
    assert len(data) == 3 and all_bright(data)
    assert {outcome for _, outcome in notes(data)} <= {"repaired"}


@NAMES
def test_another_form_of_unicode_on_disk(layout, tmp_path):
    """macOS decomposes names: an e and its accent are two characters there."""
    layout.write(tmp_path, [Photo("caf\u00e9", (3, 5, 20, 17))])
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file() and path.suffix in (".png", ".JPEG"):
            path.rename(path.with_name(path.name.replace("\u00e9", "e\u0301")))
    data = load(layout.reader, tmp_path)
    assert len(data) == 1 and all_bright(data)


@NAMES
def test_a_photo_and_what_lies_beside_it(layout, tmp_path):
    """macOS's shadow files and archive folders, the thumbnails of Windows: none of them is a photo or an annotation."""
    layout.write(tmp_path, PLAIN)
    for path in list(tmp_path.rglob("a.*")):
        if path.suffix in (".png", ".JPEG"):
            for shadow in (f"._{path.name}", "._a.xml", ".DS_Store"):
                path.with_name(shadow).write_bytes(b"\0\5\26\7")
            path.with_name("Thumbs.db").write_bytes(b"\0")
            (path.parent / "__MACOSX").mkdir()
            (path.parent / "__MACOSX" / "a.xml").write_text("<annotation/>")
    data = load(layout.reader, tmp_path)
    assert len(data) == 3 and all_bright(data) and not data.left_out


def break_entry(root: Path, layout: Layout) -> None:
    """Of photo "b": its XML, its line or its annotation."""
    xml = list(root.rglob("b.xml"))
    for path in xml:
        path.write_text(path.read_text().replace("<xmax>", "<xmax>forty"))
    for name, _ in layout.lists if not xml else ():
        path = root / name
        if path.suffix == ".json":
            content = json.loads(path.read_text())
            del content["annotations"][1]["bbox"]
            path.write_text(json.dumps(content))
        elif path.stem not in ("image_ids", "class_labels", "image_sizes"):
            lines = path.read_text().splitlines()
            lines = [line.replace("40", "forty").replace("39", "forty") if "b" in line[:4] else line for line in lines]
            path.write_text("\n".join(lines) + "\n")


@NAMES
def test_a_broken_entry_is_left_out_and_noted(layout, tmp_path):
    layout.write(tmp_path, PLAIN)
    break_entry(tmp_path, layout)
    data = load(layout.reader, tmp_path)
    whole = [i for i, a in enumerate(data.annotations) if len(a.boxes)]
    assert len(whole) == 2 and all_bright(data.select(whole))
    assert [note.outcome for note in data.notes] == ["left out"], data.notes
    with pytest.raises(InputError, match=r"1 left out, the first: .*\(left out\); put it right, or go on without"):
        load(layout.reader, tmp_path, strict=True)


@NAMES
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
        (None, "no photo"),
    ],
    ids=["empty", "pointer", "missing"],
)
def test_a_photo_that_is_none_is_named_for_what_it_is(layout, tmp_path, content, says):
    layout.write(tmp_path, PLAIN)
    for path in list(tmp_path.rglob("b.*")):
        if path.suffix in (".png", ".JPEG"):
            path.unlink()
            if content is not None:
                path.write_bytes(content)
    data = load(layout.reader, tmp_path)
    assert len(data) == 2 and all_bright(data)
    assert [says in str(note) for note in data.left_out] == [True]


@NAMES
def test_a_truncated_photo_is_found_by_decoding(layout, tmp_path):
    """Its header is whole, so that it ended a run in the middle."""
    layout.write(tmp_path, PLAIN)
    for path in tmp_path.rglob("b.*"):
        if path.suffix in (".png", ".JPEG"):
            rng = np.random.default_rng(0)
            Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(path, "JPEG")
            path.write_bytes(path.read_bytes()[:-400])
    assert len(load(layout.reader, tmp_path)) == 3
    data = load(layout.reader, tmp_path, decode=True)
    assert len(data) == 2 and all_bright(data)
    assert [note.problem.partition(":")[0] for note in data.left_out] == ["photo cannot be read"]
    assert "1 left out" in repr(data)
    with pytest.raises(InputError, match=r"1 left out, the first: .*photo cannot be read"):
        load(layout.reader, tmp_path, decode=True, strict=True)


@NAMES
def test_shares_of_the_photo_are_no_pixels(layout, tmp_path):
    """Normalised boxes were cut to the first pixel, and scored."""
    if layout.reader == "tiny_imagenet" or layout.write.__name__ == "kaggle":
        pytest.skip("has whole numbers only, by its own definition")
    layout.write(tmp_path, PLAIN[:1])
    for path in tmp_path.rglob("*"):
        if path.suffix in (".xml", ".json", ".csv") or path.name == "localization.txt":
            text = path.read_text()
            for whole, share in ((">4<", ">0.1<"), (">6<", ">0.2<"), (">20<", ">0.5<"), (">17<", ">0.57<"),
                                 ("[3, 5, 17, 12]", "[0.1, 0.2, 0.4, 0.37]"), (",3,5,", ",0.1,0.2,"),
                                 (",20,17", ",0.5,0.57"), (",19,16", ",0.5,0.57")):  # fmt: skip
                text = text.replace(whole, share)
            path.write_text(text)
    with pytest.raises(InputError, match="shares of the photo"):
        load(layout.reader, tmp_path)


@NAMES
def test_most_boxes_beyond_their_photos_are_another_format(layout, tmp_path):
    """As corners in the place of sides in COCO's JSON: cut at the border, they were scored."""
    three = [Photo(name, (20, 15, 30, 25)) for name in "abcd"]
    layout.write(tmp_path, three)
    sizes = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.suffix in (".png", ".JPEG")}
    for path in sizes:
        Image.new("L", (20, 15)).save(path, "PNG")
    if layout.stated:  # then the boxes are scaled
        assert len(load(layout.reader, tmp_path)) == 4
        for path in tmp_path.rglob("*"):
            if path.suffix in (".xml", ".json", ".csv") or path.name == "image_sizes.txt":
                text = path.read_text().replace("<width>40", "<width>20").replace("<height>30", "<height>15")
                text = text.replace('"height": 30, "width": 40', '"height": 15, "width": 20')
                path.write_text(text.replace(",40,30\n", ",20,15\n"))
    with pytest.raises(InputError, match=r"4 of 4 boxes leave their photos"):
        load(layout.reader, tmp_path)


@NAMES
def test_labels_to_keep_in_any_spelling(layout, tmp_path):
    data = read(layout, tmp_path, classes=["N01"])
    assert len(data) == 3 and data.classes == ("n01",)
    with pytest.raises(InputError, match=r"no object is of class|no usable photo"):
        load(layout.reader, tmp_path, classes=["n02"])


@NAMES
def test_a_sample_is_the_same_photos_each_time(layout, tmp_path):
    layout.write(tmp_path, [Photo(f"p{i}", (3, 5, 20, 17)) for i in range(6)])
    ids = [[a.source for a in load(layout.reader, tmp_path, limit=2, seed=seed).annotations] for seed in (0, 0, 1, 2)]
    assert len(ids[0]) == 2 and ids[0] == ids[1] and len(set(map(tuple, ids))) > 1


@pytest.mark.parametrize(
    ("header", "stated", "exif", "expected"),
    [
        (Header((30, 40)), None, False, View((30, 40), False)),
        (Header((30, 40)), (30, 40), True, View((30, 40), True)),
        (Header((30, 40), 6), (40, 30), True, View((40, 30), True)),
        (Header((30, 40), 6), (30, 40), False, View((30, 40), False)),
        (Header((30, 40), 6), None, True, View((40, 30), True)),
        (Header((30, 40), 6), (0, 0), False, "EXIF would turn the photo, no size says"),
        (Header((30, 40), 6), (40, 30), False, "annotated on the photo as EXIF turns it"),
        (Header((30, 40), 6), (30, 40), True, "annotated on the photo as it is stored, not as EXIF turns it"),
        (Header((30, 40), 3), (30, 40), False, "EXIF would turn the photo, its size does not say"),
        (Header((30, 30), 8), (30, 30), False, "EXIF would turn the photo, its size does not say"),
        (Header((30, 40), 6), (80, 60), False, "annotated at another size: 60x80, as EXIF turns it"),
        (Header((30, 40)), (40, 30), False, "the stated size differs from the photo's: 30x40, not 40x30"),
        (Header((30, 40)), (np.inf, np.inf), False, "the stated size differs from the photo's: infxinf, not 40x30"),
        (Header((30, 40)), (3e300, 4e300), False, "annotated at another size: 4e+300x3e+300"),
        (Header((30, 40), 6), (50, 50), False, "the stated size differs from the photo's: 50x50, not 40x30"),
    ],
)
def test_the_view_that_annotations_were_made_on(header, stated, exif, expected):
    found = view(header, stated, exif)
    if isinstance(expected, View):
        assert found == expected
    else:
        assert found.problem.startswith(expected)
