"""Class lists in the forms in which they are handed round, and labels as people write them."""

import numpy as np
import pytest

from saliency import InputError
from saliency.models.classes import ClassList, label_key, match_labels, read_classes

WNIDS = ("n00000001", "n00000002")
FORMS = {
    "plain.txt": "cat\ndog\n\n",
    "windows.txt": "\ufeffcat\r\ndog\r\n",
    "LOC_synset_mapping.txt": "n00000001 cat, house cat\nn00000002 dog\n",
    "tab.txt": "n00000001\tcat\nn00000002\tdog\n",
    "numbered.txt": "1: dog\n0: cat\n",
    "printed.txt": "{0: 'cat, house cat',\n 1: 'dog'}",
    "clsidx_to_labels.txt": '{0: "cat",\n1: "dog",\n}\n',
    "list.json": '["cat", "dog"]',
    "pairs.json": '[["n00000001", "cat"], ["n00000002", "dog"]]',
    "keras.json": '{"0": ["n00000001", "cat"], "1": ["n00000002", "dog"]}',
    "id2label.json": '{"1": "dog", "0": "cat"}',
    "config.json": '{"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}, "label2id": {"cat": 0}}',
    "class_to_idx.json": '{"dog": 1, "cat": 0}',
    "nownid.csv": "index,name\n0,cat\n1,dog\n",
    "semi.csv": "index;wnid;name\n0;n00000001;cat\n1;n00000002;dog\n",
    "tab.tsv": "index\tname\n0\tcat\n1\tdog\n",
    "padded.csv": "Index, Name\n1, dog\n0, cat\n,\n",
    "UPPER.CSV": "index,wnid,name\n0,n00000001,cat\n1,n00000002,dog\n",
    "label.csv": "index,label\n0,cat\n1,dog\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_class_list(tmp_path, name):
    (tmp_path / name).write_text(FORMS[name], encoding="utf-8", newline="")
    found = read_classes(tmp_path / name)
    assert found.names == ("cat", "dog") and len(found) == 2
    assert found.wnids in (WNIDS, ("", ""))
    assert (found.wnids == WNIDS) == ("n00000001" in FORMS[name])
    assert list(found) == list(zip(found.wnids, found.names))


def test_a_list_in_python():
    assert read_classes(["cat", " dog "]).names == ("cat", "dog")
    for bad in ([], ["cat", ""], ["cat", 3], 3):
        with pytest.raises(InputError, match=r"classes(: no class names|.* a list of names, one for each class)"):
            read_classes(bad)


@pytest.mark.parametrize(
    ("second", "names"),
    [
        ("dog, domestic", ("cat", "dog")),
        ("cat, wild", ("cat, domestic", "cat, wild")),
        ("Cat", ("cat, domestic", "Cat")),
    ],
)
def test_names_with_commas_stay_as_many_as_they_are(tmp_path, second, names):
    """They were cut at the comma, so that "cat, domestic" and "cat, wild" became one."""
    table = tmp_path / "quoted.csv"
    table.write_text(f'index,wnid,name\n0,n00000001,"cat, domestic"\n1,n00000002,"{second}"\n')
    found = read_classes(table)
    assert found.names == names
    assert match_labels(["cat, domestic", second, "n00000002"], found).indices.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "a.txt",
            "n01440764 tench\ngoldfish\n",
            "each line must hold a wnid and names, or none a wnid; one holds",
        ),
        ("a.txt", "n01440764 tench\nn01443537\n", "each line must hold a wnid and names"),
        ("a.txt", "\n", "no class names in it"),
        ("a.json", "[]", "no class names in it"),
        ("a.json", "3", "holds no class names; they are read from LOC_synset_mapping.txt, plain text"),
        ("a.json", '{"0": "cat", "2": "dog"}', "must run from 0 without gaps; it has 0 to 2"),
        ("a.json", '{"cat": 0, "dog": 0}', "must run from 0 without gaps; 0 stands twice"),
        ("a.json", '{"zero": "cat"}', "must be a number from 0 on, not 'zero'"),
        ("a.json", '[["n1", "cat", "x"]]', r"a class must be a name, or \[wnid, name\], not \['n1'"),
        ("a.json", '["cat", ""]', "class 1 has no name"),
        (
            "a.csv",
            "index,wnid\n0,n01440764\n",
            "must have the columns index, name; there is no name, its first",
        ),
        ("a.csv", "index,name\n0,cat\n0,dog\n", "0 stands twice"),
        ("a.csv", "index,name\n0,cat, domestic\n", "line 2 has 3 cells, the first line 2: where a comma stands in"),
        ("a.csv", "index,name,Name\n0,cat,dog\n", "has 2 columns called name; remove all but one"),
        ("a.csv", "version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer in the place of the file"),
    ],
)
def test_bad_class_lists(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"{name}: .*{says}"):
        read_classes(tmp_path / name)


IMAGENET = ClassList(
    ("indigo_bunting", "peacock", "maillot", "maillot, tank suit", "crane", "crane", "German short-haired pointer"),
    ("n01537544", "n01806143", "n03710637", "n03710721", "n02012849", "n03126707", "n02100236"),
    (
        *(
            ("indigo_bunting", "Passerina cyanea"),
            ("peacock", "Pavo"),
            ("maillot",),
            ("maillot, tank suit", "tank suit"),
        ),
        *(("crane",), ("crane", "hoist"), ("German short-haired pointer",)),
    ),
)


@pytest.mark.parametrize(
    ("label", "index"),
    [
        *(("indigo bunting", 0), ("Indigo-Bunting", 0), ("INDIGO_BUNTING", 0), ("n01537544", 0), ("N01537544", 0)),
        *(("Peacock", 1), ("  pavo ", 1), ("passerina  CYANEA", 0), ("Maillot", 2), ("tank suit", 3)),
        *(("german_short haired-pointer", 6), ("hoist", 5), ("n02012849", 4), ("crane", -1), ("cow", -1), ("", -1)),
    ],
)
def test_labels_meet_their_class(label, index):
    found = match_labels([label, label], IMAGENET)
    assert found.indices.tolist() == [index, index] and found.indices.dtype == np.int64
    assert found.unknown == ((label,) if label in ("cow", "") else ())
    assert dict(found.ambiguous) == ({"crane": (4, 5)} if label == "crane" else {})


def test_what_is_unknown_is_counted():
    found = match_labels(["cow", "Peacock", "crane", "cow", "hen"], IMAGENET)
    assert found.missed == 4
    assert found.describe() == (
        "4 of 5 labels have no class: 2 no class of the network (cow, hen), 1 several of its classes (crane)"
    )
    assert match_labels(["peacock"], IMAGENET).describe() == match_labels([], IMAGENET).describe() == ""


def test_names_alone_are_enough_and_the_exact_one_goes_first():
    assert match_labels(["Dog", "dog", "DOG", "b"], ["dog", "Dog", "a"]).indices.tolist() == [1, 0, -1, -1]
    assert match_labels(["x"], []).indices.tolist() == [-1]
    assert match_labels([], ["x"]).indices.shape == (0,)


def test_keys_forget_how_accents_are_encoded():
    assert label_key("Café_au  lait") == label_key("cafe\u0301-AU lait") == "café au lait"


@pytest.mark.real
def test_imagenets_own_list(shared):
    classes = read_classes(shared / "data" / "imagenet_photos" / "classes.csv")
    photos = sorted((shared / "data" / "imagenet_photos").glob("*.JPEG"))
    names = [photo.stem.partition("_")[2] for photo in photos]
    wnids = [photo.stem.partition("_")[0] for photo in photos]
    exact = match_labels(wnids, classes).indices
    assert len(classes) == 1000 and (exact >= 0).all()
    for spelled in (names, [name.replace("_", " ") for name in names], [name.title() for name in names]):
        found = match_labels(spelled, classes)
        known = found.indices >= 0
        assert known.sum() >= len(names) - len(found.ambiguous) and (found.indices[known] == exact[known]).all()
    assert match_labels(["indigo bunting", "Peacock"], classes).indices.tolist() == [14, 84]
