"""make_maps on a small network: what the store holds, going on after damage, shares, and bad images."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from localization import datasets, map_making
from localization.datasets.dataset import Photos
from localization.map_making import MapOptions, make_maps
from localization.store import Store, open_store
from localization.transforms import pooled
from saliency import gradient_maps, load_network
from saliency.errors import InputError
from saliency.models.weights import random_network, save_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.options.methods import Options as Settings
from scripts import cli
from scripts.make_maps import Options
from scripts.make_maps import main as script


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A file of random weights of the embedded classifier."""
    path = tmp_path_factory.mktemp("network") / "random.safetensors"
    save_network(random_network(scenes_cnn()), path, {})
    return str(path)


def options(out, weights, **changes):
    """A command line."""
    words = []
    for name, value in {
        **{"out": out, "weights": weights, "limit": 5, "shard_size": 2, "size": (12, 16), "quiet": True},
        **changes,
    }.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value is not None:
            several = value if isinstance(value, tuple) else (value,)
            words += [f"--{name.replace('_', '-')}", *map(str, several)]
    return words


def main(words):
    return script(cli.parse(Options, words))


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_store_holds_the_methods_maps(network, tmp_path):
    assert main(options(tmp_path, network, precision="float32", size=None)) == 0
    store = open_store(tmp_path)
    data, net = datasets.load("scenes", limit=5), load_network("scenes_cnn", network)
    expected = gradient_maps(net, net.preprocess([data.images[i] for i in range(5)]))
    np.testing.assert_array_equal(np.concatenate([shard.maps for shard in store]), expected)
    records = [record for shard in store for record in shard.records]
    assert [record.source for record in records] == [annotation.source for annotation in data.annotations]
    np.testing.assert_array_equal([record.boxes[0] for record in records], [a.boxes[0] for a in data.annotations])


@pytest.mark.parametrize("expected", [None, 9])
def test_one_engine_for_all_shards(network, tmp_path, monkeypatch, expected):
    """The last shard, of fewer images, is computed as the others are: the engine is chosen for the whole data set."""
    seen, plain = [], map_making._computed
    noted = lambda net, decoded, options: seen.append(options.settings.expected) or plain(net, decoded, options)  # noqa: E731
    monkeypatch.setattr(map_making, "_computed", noted)
    asked = MapOptions(settings=Settings(expected=expected), shard_size=2, size=(12, 16))
    made = make_maps(load_network("scenes_cnn", network), datasets.load("scenes", limit=5), tmp_path, options=asked)
    assert seen == [expected or 5] * 3
    assert made.store.description["options"]["expected"] == expected  # what the store says is what was asked for


def test_pooling_is_the_mean_over_areas(rng):
    maps = rng.random((3, 6, 8)).astype(np.float32)
    expected = maps.reshape(3, 3, 2, 2, 4).mean((2, 4))
    np.testing.assert_allclose(pooled(maps, (3, 2)), expected, rtol=1e-6)


def test_a_damaged_shard_is_made_again_and_a_whole_one_is_not(network, tmp_path, capsys):
    main(options(tmp_path, network))
    whole = files(tmp_path)
    (tmp_path / "maps-00001.safetensors").write_bytes(whole["maps-00001.safetensors"][:100])
    (tmp_path / "maps-00002.safetensors").unlink()
    main(options(tmp_path, network))
    assert "3 maps made" in capsys.readouterr().out
    assert files(tmp_path) == whole


def test_a_shard_removed_under_the_run_is_told(network, tmp_path, monkeypatch):
    def removing(store, own):
        store.path(1).unlink()
        return finish(store, own)

    finish = Store.finish
    monkeypatch.setattr(Store, "finish", removing)
    with pytest.raises(InputError, match=r"maps-00001\S* was removed while maps were made; run the same command again"):
        main(options(tmp_path, network))


def test_shares_make_the_same_store(network, tmp_path):
    main(options(tmp_path / "one", network))
    main(options(tmp_path / "two", network, shard="1/2"))
    assert not (tmp_path / "two" / "index.json").exists()
    main(options(tmp_path / "two", network, shard="0/2"))
    assert files(tmp_path / "two") == files(tmp_path / "one")


@pytest.fixture
def photos(tmp_path, rng):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


def test_a_photo_that_the_reader_leaves_out_is_listed(network, tmp_path, photos, capsys):
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:100])
    given = {"dataset": "folder", "data_root": photos, "limit": None}
    assert main(options(tmp_path / "store", network, **given)) == 0
    assert "no map: " in capsys.readouterr().out
    (problem,) = json.loads((tmp_path / "store" / "index.json").read_text())["problems"]
    assert "b" in problem["image"]
    with pytest.raises(InputError, match="without --strict"):
        main(options(tmp_path / "strict", network, strict=True, **given))


def test_an_image_that_cannot_be_decoded_later_is_listed_and_the_run_goes_on(network, tmp_path, monkeypatch):
    data = datasets.load("scenes", limit=5)

    def broken():
        raise InputError("photo.jpg: damaged image")

    decoders = (*data.images.decoders[:3], broken, data.images.decoders[4])
    changed = replace(data, images=Photos(decoders))
    monkeypatch.setattr("localization.datasets.load", lambda *_, **__: changed)
    assert main(options(tmp_path / "store", network)) == 0
    (problem,) = json.loads((tmp_path / "store" / "index.json").read_text())["problems"]
    assert problem == {"image": data.annotations[3].source, "problem": "photo.jpg: damaged image"}
    maps = np.concatenate([shard.maps for shard in open_store(tmp_path / "store")])
    assert (maps.max((1, 2)) > 0).tolist() == [True, True, True, False, True]
    with pytest.raises(InputError, match=r"photo.jpg: damaged image; without --strict"):
        main(options(tmp_path / "strict", network, strict=True))


def test_another_photo_under_the_same_name_is_noticed(network, tmp_path, photos, rng, capsys):
    given = {"dataset": "folder", "data_root": photos, "limit": None, "shard_size": 1}
    main(options(tmp_path / "store", network, **given))
    Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(photos / "b.png")
    main(options(tmp_path / "store", network, **given))
    assert "1 maps made" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"method": "grad-cma"}, "unknown method 'grad-cma'; near it are grad-cam"),
        ({"shard": "2/2"}, "I/N"),
        ({"shard": "half"}, "I/N"),
        ({"shard_size": 0}, "--shard-size must be a whole number of at least 1"),
        ({"size": (4, 0)}, "--size must be a whole number of at least 1, not 0"),
        ({"coordinator": "localhost:1"}, "--coordinator, --process-id and --processes belong together"),
        ({"coordinator": "localhost:1", "process_id": 2, "processes": 2}, "--process-id must lie in 0..1"),
        ({"labels": ("0", "cat")}, "no object is of class cat"),
    ],
)
def test_bad_options_leave_nothing_behind(network, tmp_path, changes, part):
    with pytest.raises(InputError, match=part):
        main(options(tmp_path / "store", network, **changes))
    assert not (tmp_path / "store").exists()


def test_labels_that_the_network_does_not_know_are_told(tmp_path):
    net = random_network(scenes_cnn())
    save_network(net, tmp_path / "nameless.safetensors", {})
    with pytest.raises(InputError, match="or use --target predicted"):
        main(options(tmp_path / "store", str(tmp_path / "nameless.safetensors"), target="label"))


@pytest.fixture
def labelled(photos):
    (photos / "boxes.csv").write_text("file,x0,y0,x1,y1,label\na.png,1,2,30,20,3\nb.png,1,2,9,8,5\nc.png,0,0,9,9,5\n")
    return {"dataset": "folder", "data_root": photos, "limit": None, "shard_size": 1}


def test_other_labels_of_the_same_photos_are_noticed(network, tmp_path, photos, labelled, capsys):
    main(options(tmp_path / "store", network, **labelled))
    table = photos / "boxes.csv"
    table.write_text(table.read_text().replace("b.png,1,2,9,8,5", "b.png,1,2,9,8,7"))
    capsys.readouterr()
    main(options(tmp_path / "store", network, **labelled))
    assert "1 maps made" in capsys.readouterr().out
    records = [record for shard in open_store(tmp_path / "store") for record in shard.records]
    assert [record.labels for record in records] == [("3",), ("7",), ("5",)]


def test_another_class_of_the_same_label_is_noticed(network, tmp_path, labelled, capsys):
    """The class explained is the network's of the photo's label; names of classes come from a file."""
    names = tmp_path / "names.txt"
    names.write_text("\n".join("0123456789") + "\n")
    given = {**labelled, "target": "label", "classes": names}
    main(options(tmp_path / "store", network, **given))
    first = [record.target for shard in open_store(tmp_path / "store") for record in shard.records]
    names.write_text("\n".join("0123465789") + "\n")
    capsys.readouterr()
    main(options(tmp_path / "store", network, **given))
    assert "2 maps made" in capsys.readouterr().out
    again = [record.target for shard in open_store(tmp_path / "store") for record in shard.records]
    assert (first, again) == ([3, 5, 5], [3, 6, 6])


def test_other_weights_under_the_same_name_are_noticed(tmp_path, labelled):
    path = tmp_path / "net.safetensors"
    save_network(random_network(scenes_cnn(), seed=0), path, {})
    main(options(tmp_path / "store", path, **labelled))
    save_network(random_network(scenes_cnn(), seed=1), path, {})
    with pytest.raises(
        InputError, match="holds maps of another origin or setting; choose another folder; --out names it"
    ):
        main(options(tmp_path / "store", path, **labelled))


def test_in_python(network, tmp_path):
    net, data, calls = load_network("scenes_cnn", network), datasets.load("scenes", limit=5), []
    given = {"options": MapOptions(shard_size=2, size=(12, 16)), "progress": lambda *done: calls.append(done)}
    made = make_maps(net, data, tmp_path / "store", **given)
    assert calls == [(2, 5), (4, 5), (5, 5)]
    assert (made.made, made.images, made.complete, made.rows, made.notes) == (5, 5, True, [], [])
    assert "5 maps made" in made.table() and "<pre>" in made._repr_html_()
    main(options(tmp_path / "script", network))
    assert files(tmp_path / "store") == files(tmp_path / "script")
    with pytest.raises(InputError, match=r"part must lie in 0\.\.1, not 2"):
        make_maps(net, data, tmp_path / "other", part=2, parts=2)
    assert not (tmp_path / "other").exists()


OWN = """
import numpy as np
from saliency import from_function
from saliency.models.preprocessing import Preprocessing


def network(scale=1):
    def apply(kernel, x):
        return (x**2).mean((1, 2)) @ kernel

    kernel = float(scale) * np.arange(6, dtype=np.float32).reshape(3, 2)
    return from_function(apply, kernel, size=(20, 28), preprocess=Preprocessing((20, 28), "stretch"))
"""


def test_the_network_is_a_function_in_the_users_own_package(tmp_path, monkeypatch):
    folder = tmp_path / "own_package"
    folder.mkdir()
    (folder / "own_module.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    name = "own_package.own_module:network"
    assert main(options(tmp_path / "store", "2", network=name, precision="float32", size=None)) == 0
    store, data = open_store(tmp_path / "store"), datasets.load("scenes", limit=5)
    net = load_network(name, "2")
    expected = gradient_maps(net, net.preprocess([data.images[i] for i in range(5)]))
    assert expected.shape == (5, 20, 28)
    np.testing.assert_array_equal(np.concatenate([shard.maps for shard in store]), expected)
    for missing in "own_package.own_module:missing", "own_package.missing:network":
        with pytest.raises(InputError, match=f"{missing}: no such function"):
            main(options(tmp_path / "none", None, network=missing))
    assert not (tmp_path / "none").exists()
