import csv
import hashlib
import json
import math
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

import saliency
from saliency._files import atomic_write
from saliency.report import Figure, Section, Table, content_hash, plain, record, write_csv, write_json, write_page
from saliency.report.record import PACKAGES, versions


@dataclass(frozen=True)
class Config:
    out: Path
    size: tuple[int, int]


def test_plain_values_survive_json():
    value = {"a": np.float32(0.5), "b": [math.nan, np.inf, 1], "c": Config(Path("x/y"), (1, 2)), "d": np.arange(2)}
    assert json.loads(json.dumps(plain(value))) == {
        "a": 0.5,
        "b": [None, None, 1],
        "c": {"out": "x/y", "size": [1, 2]},
        "d": [0, 1],
    }


def test_the_hash_sees_values_shapes_and_types():
    a = np.arange(6)
    hashes = [content_hash(part) for part in (a, a.reshape(2, 3), a.astype(float), a[::-1], {"a": 1}, {"a": 2}, b"x")]
    assert len(set(hashes)) == len(hashes)
    assert content_hash(a, {"b": 1, "a": 2}) == content_hash(a.copy(), {"a": 2, "b": 1})


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0).reshape(2, 3, 4)[:, ::2],
        np.zeros((0, 3), np.uint8),
        np.array(3.5),
        np.array([True, False]),
        np.array(["a", "bc"]),
        np.arange(4, dtype=">i2"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ],
)
def test_an_array_is_hashed_by_its_dtype_shape_and_bytes(array):
    """By whatever way they are read: stores made before have these hashes."""
    array.flags.writeable = False
    array = np.ascontiguousarray(array)
    expected = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()
    assert content_hash(array) == expected


def test_files_are_whole_or_absent(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"x": 1})
    write_csv(tmp_path / "a.csv", [{"a": 1, "b": math.nan}, {"a": "x,y"}], ["a", "b"])
    assert json.loads((tmp_path / "deep" / "a.json").read_text()) == {"x": 1}
    with open(tmp_path / "a.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [{"a": "1", "b": ""}, {"a": "x,y", "b": ""}]

    def interrupted() -> None:
        with atomic_write(tmp_path / "b.txt") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "deep"]


def test_a_record_names_versions_and_seed():
    origin = record(Config(Path("o"), (3, 4)), 7, "abc")
    assert origin["seed"] == 7
    assert origin["inputs"] == "abc"
    assert origin["config"] == {"out": "o", "size": [3, 4]}
    assert {"jax", "numpy", "python"} <= set(origin["versions"])


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        (saliency.__version__, saliency.__version__),
        (None, f"{saliency.__version__}, a checkout (not installed)"),
        ("0.0.1", f"{saliency.__version__}, a checkout (0.0.1 is installed)"),
    ],
)
def test_versions_name_the_code_that_ran(monkeypatch, installed, said):
    """From a checkout it was "not installed", or the version of another copy."""

    def version(name: str) -> str:
        if installed is None or name != "salbox":
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(sys.modules[versions.__module__], "version", version)
    assert versions() | {"python": ""} == {"python": "", **dict.fromkeys(PACKAGES, "not installed"), "salbox": said}


def test_floats_of_a_table_have_its_decimals(tmp_path):
    rows = [(1 / 3, 2, np.nan), (4.92e-6, 1234, None)]
    tables = [Table("abc", rows), Table("abc", rows, decimals=3)]
    write_page(tmp_path / "page.html", "", "", [Section("", "", tables)])
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", (tmp_path / "page.html").read_text())
    assert cells[:6] == ["0.3333", "2", "–", "4.92e-06", "1234", "–"]
    assert cells[6:] == ["0.333", "2", "–", "0.000", "1234", "–"]


def test_the_page_escapes_what_data_say(tmp_path):
    hostile = "<script>alert(1)</script>"
    section = Section(
        hostile, hostile, [Table((hostile, "n"), [(hostile, 0.25), ("x", None)])], [Figure(b"\x89PNG", hostile)]
    )
    write_page(tmp_path / "page.html", hostile, hostile, [section], {"name": hostile})
    html = (tmp_path / "page.html").read_text()
    assert hostile not in html
    assert html.count("&lt;script&gt;alert(1)") >= 6
    assert 'data-value="0.25"' in html
    assert "http" not in html.replace("http://www.w3.org", "")
