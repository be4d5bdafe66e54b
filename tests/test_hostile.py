"""Files that mean harm: bombs, pickles, names and links that lead elsewhere, names that are code or formulas.

A sample of `tests.campaigns.mutations` runs here too.
"""

import os
import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from localization.boxes_file import read_boxes
from localization.datasets import load
from localization.datasets.names import inside
from localization.report import figures
from saliency import InputError, load_network, report
from saliency import _reading as reading
from saliency._reading import read_arrays, read_json, read_map, read_rows
from saliency.models.preprocessing import Preprocessing
from saliency.photos import read_header, read_photo
from tests.devkits import voc_object, voc_xml, write_photo, write_text, write_voc

PRODUCT = [path for top in ("saliency", "localization", "scripts") for path in Path(top).rglob("*.py")]
ENTITIES = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi"))


@pytest.fixture(scope="module")
def formats():
    pytest.importorskip("h5py")
    from tests.campaigns import mutations

    return mutations


def test_a_sample_of_altered_files_is_read_or_refused(formats, tmp_path):
    """Nine cases of each format of the campaign."""
    for i, name in enumerate(formats.FORMATS):
        (tmp_path / str(i)).mkdir()
        cases = formats.Cases(name, tmp_path / str(i), seed=1)
        said = [cases.outcome(number) for number in range(9)]
        assert set(said) <= {"accepted", "refused"}, (name, said)


@pytest.mark.parametrize(
    "head",
    [
        f'<!DOCTYPE x [<!ENTITY a "ha">{ENTITIES}]>',
        '<!DOCTYPE x [<!ENTITY i SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://localhost/x.dtd" [<!ENTITY i "x">]>',
    ],
    ids=["bomb", "file", "address"],
)
def test_entities_are_refused(tmp_path, head):
    write_voc(tmp_path, {"bad": [], "good": [voc_object("cat", (1, 1, 9, 9))]})
    xml = voc_xml([voc_object("&i;", (1, 1, 9, 9))], filename="bad.jpg")
    write_text(tmp_path / "Annotations" / "bad.xml", head + xml)
    data = load("voc", tmp_path)
    assert data.classes == ("cat",)
    assert [str(note) for note in data.notes if "no plain XML: EntitiesForbidden" in str(note)] == list(
        map(str, data.notes)
    )
    assert [note.source for note in data.notes] == ["bad"]


def test_a_huge_png_is_refused_before_it_is_decoded(tmp_path):
    """50,000 x 50,000 pixels of nothing in 100 bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(png)
    for read in (read_header, read_photo):
        with pytest.raises(InputError, match=r"bomb\.png: larger than 100,000,000 pixels"):
            read(tmp_path / "bomb.png")


def test_a_photo_that_is_hardly_more_than_a_line_does_not_become_a_wall():
    """Its shorter side scaled to 256 would make the longer one 5 million pixels."""
    photo = np.broadcast_to(np.arange(20_000, dtype=np.uint8)[:, None, None], (20_000, 1, 3))
    preprocess = Preprocessing((224, 224), shorter=256)
    for one in (photo, photo.swapaxes(0, 1)):
        assert preprocess([one]).shape == (1, 224, 224, 3)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_what_is_cropped_before_it_is_resized_looks_the_same(monkeypatch, rng, mode):
    photo = rng.integers(100, 156, (300, 20, 3), np.uint8)  # rounding between the passes never meets 0 or 255
    preprocess = Preprocessing((30, 24), shorter=32, interpolation=mode)
    whole = preprocess.place(photo).astype(int)
    monkeypatch.setattr("saliency.models.preprocessing.MAX_PIXELS", 1)
    cropped = preprocess.place(photo).astype(int)
    np.testing.assert_allclose(cropped, whole, atol=1)


class Harm:
    """A pickle of this writes a file when it is read."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_pickles_are_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.array([Harm()], object), allow_pickle=True)
    np.savez("a.npz", maps=np.array([Harm()], object))
    Path("b.npy").write_bytes(pickle.dumps(Harm()))
    for name in ("a.npy", "a.npz", "b.npy"):
        for read in (read_arrays, read_map):
            with pytest.raises(InputError, match=rf"{name}: not a readable .npy or .npz of numbers"):
                read(name)
    assert not Path("harm").exists()


def test_the_product_reads_no_pickle():
    """But of compiled programs, which are machine code: from a folder that nobody else may write to, by one module."""
    for path in PRODUCT:
        text = path.read_text()
        imports = re.findall(r"^\s*(?:import|from) (pickle|dill|joblib)\b", text, re.MULTILINE)
        assert imports == (["pickle"] if path == Path("saliency/_programs.py") else []), path
        for call in re.findall(r"np\.load\(.*|torch\.load\(.*", text):
            assert "allow_pickle=False" in call, (path, call)


def test_archives_that_unfold_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 10_000)
    np.savez_compressed(tmp_path / "bomb.npz", np.zeros(10_000))
    assert (tmp_path / "bomb.npz").stat().st_size < 1000
    with pytest.raises(InputError, match=r"bomb\.npz: unfolds into more than 10,000 bytes"):
        read_arrays(tmp_path / "bomb.npz")


def test_text_without_end_is_refused_before_it_is_read(tmp_path):
    """As large as a disk, and empty: sparse files."""
    write_voc(tmp_path, {"bad": [], "good": [voc_object("cat", (1, 1, 9, 9))]})
    for name in ("boxes.csv", "results.json", "Annotations/bad.xml"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(2**40)
    for read, name in ((read_boxes, "boxes.csv"), (read_json, "results.json")):
        with pytest.raises(InputError, match=rf"{name}: 1,099,511,627,776 bytes of text, and no more than"):
            read(tmp_path / name)
    data = load("voc", tmp_path)
    assert data.classes == ("cat",)
    assert [note.source for note in data.notes] == ["bad"] and "no more than 16,777,216" in str(data.notes[0])


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path):
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with pytest.raises(InputError, match=r"a\.npy: not a readable"):
        read_arrays(tmp_path / "a.npy")


def test_names_in_an_archive_are_no_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.eye(2))
    with zipfile.ZipFile("a.npz", "w") as archive:
        for name in ("../../up.npy", "/tmp/absolute.npy"):
            archive.write("x.npy", name)
    assert [array.tolist() for array in read_arrays("a.npz").values()] == [np.eye(2).tolist()] * 2
    assert sorted(os.listdir()) == ["a.npz", "x.npy"]


def test_tensors_in_another_file_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_dataset("fc1/kernel:0", (16,), "f4", external=[(str(secret), 0, 64)])
    with pytest.raises(InputError, match=r"net\.h5: fc1/kernel:0 lies in another file"):
        load_network("vgg16", tmp_path / "net.h5")


@settings(deadline=None)
@given(
    st.text(st.characters(), max_size=40)
    | st.sampled_from(["../x", "/etc/passwd", "a/../../b", "..\\x", "C:/x", "a\0"])
)
def test_names_from_files_never_leave_their_folder(name):
    folder = Path("some/folder").absolute()
    try:
        path = inside(folder, name, "list.txt")
    except InputError as error:
        assert str(error).startswith("list.txt: ")
    else:
        assert Path(os.path.normpath(path)).is_relative_to(folder)


def test_links_within_a_folder_do_not_lead_out_of_it(tmp_path):
    write_voc(tmp_path / "kit", {"a": [voc_object("cat", (1, 1, 9, 9))]})
    write_photo(tmp_path / "private.jpg", (60, 80))
    photo = tmp_path / "kit" / "JPEGImages" / "a.jpg"
    photo.unlink()
    photo.symlink_to(tmp_path / "private.jpg")
    with pytest.raises(InputError, match=r"trainval\.txt: 'a\.jpg' leads out of"):
        load("voc", tmp_path / "kit")
    (tmp_path / "kit" / "JPEGImages").rename(tmp_path / "photos")  # the folder itself may be a link
    (tmp_path / "kit" / "JPEGImages").symlink_to(tmp_path / "photos")
    photo.unlink()
    write_photo(photo, (60, 80))
    assert len(load("voc", tmp_path / "kit")) == 1


def test_file_names_that_are_no_text_can_be_reported(tmp_path):
    write_photo(tmp_path / "photos" / "a.png", (20, 30))
    os.rename(tmp_path / "photos" / "a.png", os.fsencode(tmp_path / "photos") + b"/\xff.png")
    data = load("folder", tmp_path / "photos")
    assert data.annotations[0].source == "\\udcff.png" and data[0].image.shape == (20, 30, 3)
    report.write_csv(tmp_path / "a.csv", [{"image": data.annotations[0].source}], ["image"])


def test_names_are_no_formulas(rng, tmp_path):
    """Matplotlib would set these as mathematics, or fail to."""
    photo = rng.integers(0, 256, (9, 9, 3), np.uint8)
    box = np.array([1.0, 1, 5, 5])
    pictures = [
        report.png(figures.cases([photo], [box], [box], [title])) for title in ("$x^2$", r"$\frac{$", "$\\notacommand$")
    ]
    assert len(set(pictures)) == 3


def test_json_without_end_is_refused(tmp_path):
    write_text(tmp_path / "deep.json", "[" * 100_000)
    with pytest.raises(InputError, match=r"deep\.json: not JSON"):
        read_json(tmp_path / "deep.json")


def test_rows_are_text(tmp_path):
    write_text(tmp_path / "a.csv", "\ufeffa,b\r\n1\r\n2,3,,\r\n")
    assert [(row["a"], row["b"]) for row in read_rows(tmp_path / "a.csv", ("a", "b"))] == [("1", ""), ("2", "3")]
    write_text(tmp_path / "b.csv", f"a\n{'x' * 200_000}\n")
    with pytest.raises(InputError, match=r"b\.csv: not a CSV file"):
        list(read_rows(tmp_path / "b.csv", ("a",)))


def test_a_map_of_another_tool(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[[1e300, 2]]]))
    assert read_map(tmp_path / "a.npy").tolist() == [[np.inf, 2]]
    np.savez(tmp_path / "none.npz")
    with pytest.raises(InputError, match=r"none\.npz: holds no array"):
        read_map(tmp_path / "none.npz")
    with pytest.raises(InputError, match=r"absent\.npy: no such file"):
        read_map(tmp_path / "absent.npy")
    Image.new("L", (3, 2)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png: not a readable .npy or .npz"):
        read_map(tmp_path / "b.png")
