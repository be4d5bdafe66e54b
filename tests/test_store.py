"""Stores: what is written is read, in the same bytes each time; what was broken, cut or swapped is never used."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from localization.store import Damaged, Record, Shard, create_store, open_store
from saliency.errors import InputError

DESCRIPTION = {"network": "vgg16", "precision": "float16", "size": [6, 9]}


def shard(rng, first, count, scale=1.0):
    records = tuple(
        Record(f"photo{first + i}", (60, 90), ("cat",), ((1.0, 2.0, 30.0, 40.0),), pixels=f"hash{first + i}")
        for i in range(count)
    )
    return Shard((scale * rng.random((count, 6, 9))).astype(np.float32), records)


@pytest.fixture
def store(tmp_path, rng):
    store = create_store(tmp_path / "store", DESCRIPTION, n=7, shard_size=3)
    for number in store.shards:
        store.write(number, shard(rng, number * 3, len(store.images(number))))
    assert store.finish()
    return store


def test_what_is_written_is_read(tmp_path, rng):
    for precision, rtol in (("float32", 0), ("float16", 1e-3)):
        store = create_store(tmp_path / precision, {**DESCRIPTION, "precision": precision}, n=3, shard_size=3)
        written = shard(rng, 0, 3, scale=1e-7)  # gradients are small: float16 alone would make them 0
        store.write(0, written)
        found = store.read(0)
        np.testing.assert_allclose(found.maps, written.maps, rtol=rtol, atol=1e-10 * bool(rtol))
        assert found.records == written.records == store.records(0)


def test_shards_cover_the_images_in_order(store):
    opened = open_store(store.folder)
    assert [len(part.maps) for part in opened] == [3, 3, 1]
    assert [record.source for part in opened for record in part.records] == [f"photo{i}" for i in range(7)]
    assert opened.digest() == store.digest()


def test_the_same_input_gives_the_same_bytes(store, tmp_path, rng):
    again = create_store(tmp_path / "again", DESCRIPTION, n=7, shard_size=3)
    rng = np.random.default_rng(0)
    for number in again.shards:
        again.write(number, shard(rng, number * 3, len(again.images(number))))
    again.finish()
    names = sorted(path.name for path in store.folder.iterdir())
    assert names == sorted(path.name for path in again.folder.iterdir())
    assert all((store.folder / name).read_bytes() == (again.folder / name).read_bytes() for name in names)


def test_a_store_that_is_being_changed_is_not_complete(store, rng):
    store.write(1, shard(rng, 3, 3))
    with pytest.raises(InputError, match="not complete"):
        open_store(store.folder)
    assert store.finish()
    open_store(store.folder)


def test_a_store_removed_or_taken_by_another_run_is_told(store, tmp_path, rng):
    shutil.rmtree(store.folder)
    with pytest.raises(InputError, match="was removed while maps were made; run the same command again"):
        store.write(1, shard(rng, 3, 3))
    with pytest.raises(InputError, match="was removed"):
        store.finish()
    create_store(store.folder, {**DESCRIPTION, "network": "alexnet"}, n=7, shard_size=3)
    with pytest.raises(InputError, match="holds maps of another origin or setting; choose another folder"):
        store.write(1, shard(rng, 3, 3))
    (store.folder / "store.json").write_text("{")
    with pytest.raises(InputError, match=r"store.json: not JSON"):
        create_store(store.folder, DESCRIPTION, n=7, shard_size=3)


@pytest.mark.parametrize("cut", [0, 10, 200, -1])
def test_a_truncated_shard_is_named(store, cut):
    path = store.path(1)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(Damaged, match=r"maps-00001.*make_maps again"):
        store.read(1)


def test_an_altered_map_is_named(store):
    path = store.path(2)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(Damaged, match="not what was written"):
        store.read(2)


def test_an_altered_record_is_named(store):
    path = store.path(0)
    path.write_bytes(path.read_bytes().replace(b"photo1", b"photo9"))
    with pytest.raises(Damaged, match="not what was written"):
        store.read(0)


def test_a_shard_of_another_store_is_named(store, tmp_path, rng):
    other = create_store(tmp_path / "other", {**DESCRIPTION, "network": "alexnet"}, n=7, shard_size=3)
    other.write(1, shard(rng, 3, 3))
    store.path(1).write_bytes(other.path(1).read_bytes())
    with pytest.raises(Damaged, match="a shard of other maps"):
        store.read(1)


def test_images_without_a_map_are_in_the_index(tmp_path, rng):
    store = create_store(tmp_path / "store", DESCRIPTION, n=3, shard_size=3)
    part = shard(rng, 0, 3)
    records = (part.records[0], replace(part.records[1], problem="damaged image"), part.records[2])
    store.write(0, Shard(part.maps, records))
    store.finish()
    index = json.loads((store.folder / "index.json").read_text())
    assert index["problems"] == [{"image": "photo1", "problem": "damaged image"}]


def test_a_store_that_is_not_complete_is_not_opened(tmp_path, rng):
    with pytest.raises(InputError, match="no store of maps"):
        open_store(tmp_path)
    store = create_store(tmp_path, DESCRIPTION, n=4, shard_size=2)
    store.write(0, shard(rng, 0, 2))
    assert not store.finish()
    with pytest.raises(InputError, match="not complete"):
        open_store(tmp_path)
    with pytest.raises(Damaged, match="no such shard"):
        store.read(1)


def test_a_folder_of_other_maps_is_refused(store):
    create_store(store.folder, DESCRIPTION, n=7, shard_size=3)
    with pytest.raises(InputError, match="holds maps of another origin or setting; choose another folder"):
        create_store(store.folder, {**DESCRIPTION, "network": "alexnet"}, n=7, shard_size=3)
