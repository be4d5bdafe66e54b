"""Boxes of other tools: by image and label, in every form in which tables are handed round; never scored by guess."""

import re

import numpy as np
import pytest

from localization.boxes_file import FORMATS, boxes_of, read_boxes
from localization.datasets.names import match_names
from saliency import InputError
from saliency._reading import number_in, read_rows
from tests.devkits import write_text

IDS = [f"{i:06d}" for i in range(4) for _ in range(2)]
LABELS = ["dog", "cat"] * 4
SIZES = [(96, 128)] * 8
DOG, CAT = [4, 10, 55, 80], [70, 10, 120, 80]
TRUE = np.array([DOG, CAT] * 4, float)
ROWS = [(image, *box, label) for image, box, label in zip(IDS, TRUE.tolist(), LABELS)]
HEAD = ("image", "x0", "y0", "x1", "y1", "label")


def table(path, rows=ROWS, head=HEAD, mark=","):
    write_text(path, "\n".join(mark.join(map(str, row)) for row in (head, *rows)) + "\n")
    return path


def found(path, images=IDS, labels=LABELS, sizes=SIZES, box_format=None):
    rows = read_boxes(path, box_format)
    return boxes_of(rows, images, labels, sizes, source=path.name, box_format=box_format)


def refused(path, **options) -> str:
    with pytest.raises(InputError) as error:
        found(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_two_classes_of_one_photo_are_two_boxes(tmp_path):
    """The last row of a photo won, whatever its label."""
    one = found(table(tmp_path / "labelled.csv"))
    assert (one.boxes == TRUE).all() and np.isnan(one.scores).all() and one.notes == ()
    first = read_boxes(tmp_path / "labelled.csv")[0]
    assert (first.id, first.label, first.score, first.line, first.size) == ("000000", "dog", None, 2, None)


def test_rows_that_repeat_an_image_are_refused_with_both_lines(tmp_path):
    rows = [row[:5] for row in ROWS]
    assert "dup.csv: lines 2 and 3 both give a box of '000000'; keep one, or add a column label or score" in refused(
        table(tmp_path / "dup.csv", rows, HEAD[:5])
    )
    twice = [ROWS[0], (*ROWS[0][:5], "Dog")]
    assert "lines 2 and 3 both give a box of '000000' and label 'Dog'; keep one, or add a column score" in refused(
        table(tmp_path / "dup.csv", twice)
    )


def test_of_several_rows_the_best_score_counts(tmp_path):
    rows = [("000000", *CAT, 0.2), ("000000", *DOG, 0.9), ("000001", *CAT, "")]
    one = found(table(tmp_path / "scored.csv", rows, (*HEAD[:5], "confidence")))
    assert one.boxes[:3].tolist() == [DOG, DOG, CAT] and one.scores[:2].tolist() == [0.9, 0.9]
    rows[1] = ("000000", *DOG, "")
    assert "both give a box" in refused(table(tmp_path / "scored.csv", rows, (*HEAD[:5], "confidence")))
    rows[1] = ("000000", *DOG, "high")
    assert "line 3: score must be a number, not 'high'" in refused(
        table(tmp_path / "scored.csv", rows, (*HEAD[:5], "score"))
    )


@pytest.mark.parametrize(
    ("name", "head", "change", "mark"),
    [
        ("semicolons", HEAD, lambda row: row, ";"),
        ("tabs", HEAD, lambda row: row, "\t"),
        ("padded", [f" {name} " for name in HEAD], lambda row: [f" {cell} " for cell in row], ","),
        ("capitals", [name.upper() for name in HEAD], lambda row: row, ","),
        ("decimal commas", HEAD, lambda row: [str(cell).replace(".", ",") for cell in row], ";"),
        ("class", (*HEAD[:5], "class"), lambda row: row, ","),
        ("file with suffix", ("file", *HEAD[1:]), lambda row: (f"{row[0]}.jpg", *row[1:]), ","),
        ("path", ("filename", *HEAD[1:]), lambda row: (f"JPEGImages/{row[0]}.JPG", *row[1:]), ","),
        ("windows", ("path", *HEAD[1:]), lambda row: (f"C:\\pics\\{row[0]}.jpg", *row[1:]), ","),
        ("other case", HEAD, lambda row: (*row[:5], row[5].upper()), ","),
        ("min max", ("image", "xmin", "ymin", "xmax", "ymax", "label"), lambda row: row, ","),
        ("one two", ("image", "x1", "y1", "x2", "y2", "label"), lambda row: row, ","),
        ("other order", HEAD[::-1], lambda row: row[::-1], ","),
        ("twice the size", (*HEAD, "width", "height"),
         lambda row: (row[0], *(2 * x for x in row[1:5]), row[5], 256, 192), ","),
        ("more columns", ("id", *HEAD, "comment"), lambda row: ("7", *row, "fine"), ","),
        ("trailing cells", HEAD, lambda row: (*row, "", ""), ","),
    ],
)  # fmt: skip
def test_tables_as_people_write_them(tmp_path, name, head, change, mark):
    one = found(table(tmp_path / "mine.csv", [change(row) for row in ROWS], head, mark))
    assert (one.boxes == TRUE).all(), name


@pytest.mark.parametrize("rows", ["\n\n", ",,,,,\n\n", "  \n,, , ,,\n"])
def test_rows_without_text_are_no_rows(tmp_path, rows):
    path = table(tmp_path / "blank.csv")
    path.write_text(path.read_text() + rows)
    assert (found(path).boxes == TRUE).all()


def test_excel_says_above_what_separates_cells(tmp_path):
    path = table(tmp_path / "excel.csv", mark=";")
    path.write_text("\ufeffsep=;\r\n" + path.read_text().replace("\n", "\r\n"), newline="")
    assert (found(path).boxes == TRUE).all()
    path.write_text(path.read_text().replace("000001;4", "000001;four"))
    assert "line 5: the box of '000001' must be four numbers" in refused(path)


def shares(box):
    return np.array(box) / [128, 96, 128, 96]


def sides(box):
    return np.array([box[0], box[1], box[2] - box[0], box[3] - box[1]])


def centred(box):
    own = sides(box)
    return np.array([own[0] + own[2] / 2, own[1] + own[3] / 2, own[2], own[3]])


WAYS = {"xyxy": np.array, "xywh": sides, "cxcywh": centred}


@pytest.mark.parametrize("box_format", FORMATS)
def test_formats_are_asked_for(tmp_path, box_format):
    way = WAYS[box_format.rpartition("-")[2]]
    scale = shares if box_format.startswith("normalised") else np.array
    rows = [(row[0], *way(scale(box)).tolist(), row[5]) for row, box in zip(ROWS, TRUE)]
    path = table(tmp_path / "mine.csv", rows)
    np.testing.assert_allclose(found(path, box_format=box_format).boxes, TRUE)


@pytest.mark.parametrize(
    ("way", "scale", "says"),
    [
        (
            np.array,
            shares,
            "its numbers are shares of the photo (none is above 1), not pixels; say box_form",
        ),
        (sides, shares, "its numbers are shares of the photo"),
        (sides, np.array, "corners run backwards, as x y width height would; say box_format='xywh'"),
        (
            np.array,
            lambda box: np.array(box) * 3,
            "8 of 8 boxes leave their photos: they were measured at another size",
        ),
    ],
)
def test_other_formats_are_noticed(tmp_path, way, scale, says):
    """They were scored as if they were corners in pixels."""
    rows = [(row[0], *way(scale(box)).tolist(), row[5]) for row, box in zip(ROWS, TRUE)]
    assert says in refused(table(tmp_path / "mine.csv", rows))


@pytest.mark.parametrize(
    ("scale", "box_format", "says"),
    [
        (np.array, "xywh", "4 of 8 boxes leave their photos: .* or are not xywh"),
        (np.array, "normalised-xyxy", "8 of 8 boxes leave their photos: .* or are not normalised-xyxy"),
        (shares, "xywh", "its numbers are shares of the photo"),
        (shares, "cxcywh", "its numbers are shares of the photo"),
    ],
)
def test_a_wrong_format_that_is_asked_for_is_noticed(tmp_path, scale, box_format, says):
    rows = [(row[0], *scale(box).tolist(), row[5]) for row, box in zip(ROWS, TRUE)]
    assert re.search(says, refused(table(tmp_path / "mine.csv", rows), box_format=box_format))


def test_what_the_header_says_is_noticed_too(tmp_path):
    rows = [(row[0], *sides(row[1:5]), row[5]) for row in ROWS]
    path = table(tmp_path / "mine.csv", rows, ("image", "x", "y", "width", "height", "label"))
    assert "has the columns x, y, width, height; say box_format='xywh', or 'cxcywh' for centres" in refused(path)
    assert (found(path, box_format="xywh").boxes == TRUE).all()
    assert "box_format must be one of xyxy, xywh" in refused(path, box_format="yolo")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("000000", 4, 10, "x", 80, "dog")], "line 2: the box of '000000' must be four numbers, or nan"),
        ([("000000", 4, 10, "inf", 80, "dog")], "must be four numbers"),
        ([("000000", "10,5", 4, 10, 55, 80, "dog")], "has 8 cells, the first line 6: where a comma stands in a number"),
        ([("999", *DOG, "dog")], "names none of the 4 photos, such as '000000'; it names '999'"),
        ([("000000", *DOG, "hound")], "its labels (hound) are none of the data set's (cat, dog)"),
        ([], "names none of the 4 photos, such as '000000': it has no rows"),
    ],
)
def test_what_is_refused(tmp_path, rows, says):
    assert says in refused(table(tmp_path / "mine.csv", rows))


def test_what_is_missing_is_said(tmp_path):
    rows = [ROWS[0], (IDS[2], *["nan"] * 4, "dog"), (IDS[3], "", "", "", "", "cat"), ("99", *DOG, "dog"),
            (IDS[4], *DOG, "cow")]  # fmt: skip
    one = found(table(tmp_path / "mine.csv", rows))
    assert np.isnan(one.boxes[1:]).all()
    assert one.notes == (
        "1 images are not among those scored, the first '99'",
        "labels that no sample has: cow",
        "5 of 8 samples have no row, and count as misses",
        "2 of 8 samples have a row that says no box was found",
    )


def test_a_name_that_means_two_photos_is_refused(tmp_path):
    ids, labels, sizes = ["x/000.jpg", "y/000.jpg"], ["dog", "dog"], SIZES[:2]
    path = table(tmp_path / "mine.csv", [("000", *DOG, "dog")])
    assert "image '000' may mean 'x/000.jpg' or 'y/000.jpg'; write the whole id" in refused(
        path, images=ids, labels=labels, sizes=sizes
    )
    path = table(tmp_path / "paths.csv", [("x/000.jpg", *DOG, "dog"), ("y\\000", *CAT, "dog")])
    assert found(path, images=ids, labels=labels, sizes=sizes).boxes.tolist() == [DOG, CAT]


def test_names_are_met_by_the_nearest_way():
    ids = ["a.jpg", "A.jpg", "b/c.png", "d.v2"]
    names = ["a.jpg", "A.JPG", "c", "B/C.png", "d.v2", "d", "e", "b\\c"]
    found, several = match_names(names, ids)
    assert found == {"a.jpg": "a.jpg", "c": "b/c.png", "B/C.png": "b/c.png", "d.v2": "d.v2", "b\\c": "b/c.png"}
    assert several == {"A.JPG": ("a.jpg", "A.jpg")}
    assert match_names(["caf\u00e9"], ["cafe\u0301.jpg"])[0] == {"caf\u00e9": "cafe\u0301.jpg"}


def test_samples_whose_label_is_unknown_take_the_image_s_row(tmp_path):
    path = table(tmp_path / "mine.csv", ROWS[::2])
    assert found(path, IDS[::2], [""] * 4, SIZES[::2]).boxes.tolist() == [DOG] * 4
    path = table(tmp_path / "mine.csv")
    assert "lines 2 and 3 both give a box of '000000', whose label is not known" in refused(
        path, images=IDS[::2], labels=[""] * 4, sizes=SIZES[::2]
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), (" 10,5 ", 10.5), ("1e2", 100), ("1,2,3", None), ("1,234.5", None), ("", None), ("x", None)],
)
def test_numbers(text, number):
    assert number_in(text) == number


def test_a_table_without_its_columns_says_what_it_has(tmp_path):
    write_text(tmp_path / "a.csv", "image;x0;y0\n1;2;3\n")
    with pytest.raises(InputError, match=re.escape("there is no x1, its first line has: image, x0, y0")):
        list(read_rows(tmp_path / "a.csv", HEAD[:5]))
    write_text(tmp_path / "a.csv", "")
    with pytest.raises(InputError, match="its first line has: nothing"):
        list(read_rows(tmp_path / "a.csv", HEAD[:5]))


def test_columns_width_and_height_may_be_the_box_s_own(tmp_path):
    rows = [(*row, row[3] - row[1], row[4] - row[2]) for row in ROWS]
    assert (found(table(tmp_path / "mine.csv", rows, (*HEAD, "width", "height"))).boxes == TRUE).all()


def test_a_size_that_is_none_of_the_photo_is_refused(tmp_path):
    """As of a photo that another tool left lying on its side."""
    rows = [(*row, 96, 128) for row in ROWS]
    said = refused(table(tmp_path / "mine.csv", rows, (*HEAD, "width", "height")))
    assert "line 2 states a size that is none of '000000': 96x128, the photo has 128x96" in said


def test_a_web_page_is_no_table(tmp_path):
    write_text(tmp_path / "mine.csv", "<!DOCTYPE html>\n<html>Sign in</html>")
    assert "a web page, saved in the place of the file" in refused(tmp_path / "mine.csv")
