"""Damaged and hostile files: every reader either works or refuses in one sentence that names the file.

    python -m tests.campaigns.mutations --n 10000 --seed 0

Each case alters one file of a small valid data set (bytes changed, cut, inserted, repeated, spliced with another file,
words replaced by hostile ones) and reads it as the scripts do. A case fails where anything but an InputError comes out,
where the sentence does not name the file, or where it takes more than 5 s of CPU time or 2 GiB. Cases run in a process
of their own, so that a crash or a hang is one failure among others. At the end whole scripts meet such files.
"""

import contextlib
import json
import re
import resource
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import h5py
import numpy as np
import tyro

from localization import datasets, load_linear_map
from localization.boxes_file import read_boxes
from localization.comparison.budget import Choice, remembered, save
from localization.comparison.reading import read_bundle
from localization.comparison.result import saved
from localization.comparison.thrift import thinner
from localization.datasets import Dataset
from localization.external import external_maps, moved, write_placement
from localization.external import placement as where
from localization.features import Features
from localization.regression.coverage import fit_coverage
from localization.regression.linear_map import LinearMap
from localization.store import Record, Shard, create_store, open_store
from saliency import InputError, load_network
from saliency._memory import peak_memory, reset_peak_memory
from saliency._reading import read_arrays, read_map
from saliency.methods import METHODS, Options
from saliency.models.checkpoints import exported
from saliency.models.classes import read_classes
from saliency.models.from_onnx import from_onnx
from saliency.models.preprocessing import Preprocessing
from saliency.models.torch_files import read_torch
from saliency.models.weights import ARCHITECTURES, random_network
from saliency.models.zoo.catalogue import SCHEMES
from saliency.models.zoo.vgg import vgg16
from saliency.zeiler_fergus.subjects import placed, read_regions
from tests import torch_saved
from tests.campaigns.runs import _script
from tests.devkits import voc_object, voc_xml, write_photo, write_text, write_voc

SECONDS, BYTES = 5, 2 * 2**30
PATIENCE = 120  # s of the clock until a silent process counts as hanging, on a machine that is busy with other things
SIZE = (24, 32)
CLS = "Annotations/CLS-LOC"
WSOL = {"image_ids": "", "class_labels": ",5", "image_sizes": ",32,24", "localization": ",1,2,8,9"}
MAPS = ("map.npy", "map.npz", "packed.npz")
SMALL_VGG = partial(vgg16, ((4, 4), (6,)), 8, classes=5, size=(12, 20))
PHOTOS: dict[str, dict] = {
    **{"grey.jpg": {"mode": "L"}, "cmyk.jpg": {"mode": "CMYK", "progressive": True}, "plain.png": {}},
    **{"palette.png": {"mode": "P"}, "alpha.png": {"mode": "RGBA"}, "a.gif": {}, "b.webp": {}, "c.bmp": {}},
    **{"lzw.tif": {"compression": "tiff_lzw"}},
}
HOSTILE = (
    *(b"", b"0", b"-1", b"nan", b"inf", b"1e999", b"9" * 30, b"9" * 5000, b"1.5", b"true", b"null", b"[]", b"{}"),
    *(b"../../x", b"/etc/passwd", b"C:\\x", b"a/../../b", b"x" * 300, b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"[" * 9000),
    *(b"<script>alert(1)</script>", b'<!DOCTYPE a [<!ENTITY b "c">]>', b"&b;", b"\xe2\x80\xae", b"=cmd()", b'"', b"\n"),
)


class LeftOut(InputError):
    """Photos and objects that a reader left out, each by its own name: in a bad list these are what is named."""


@dataclass(frozen=True)
class Format:
    """`write` makes a valid data set in a folder; `victims` are those of its files that are altered, one a case; `read`
    reads all that depends on them, and says False where it takes a file for none of its own. `script`, where there is
    one, reads it too."""

    write: Callable[[Path], object]
    victims: tuple[str, ...]
    read: Callable[[Path], object]
    script: str = ""
    edit: Callable[[np.random.Generator, bytes], bytes] | None = None
    """What else a file can hold than changed bytes: half of the cases are made so, where its name ends in `edits`."""
    edits: str = ""


def dataset(name: str, write: Callable[[Path], object], *victims: str, split: str | None = None) -> Format:
    script = f"evaluate --check --dataset {name} --data-root {{folder}}" + (f" --split {split}" if split else "")
    return Format(write, victims, lambda folder: everything(datasets.load(name, folder, split=split)), script)


def everything(data: Dataset) -> None:
    """Decode all photos; what the reader left out must be told as clearly as what it refuses."""
    left_out = [str(note) for note in data.notes if note.outcome == "left out"]
    for image, annotation in zip(data.images, data.annotations):
        assert image.shape == (*annotation.size, 3) and image.dtype == np.uint8
        assert np.isfinite(annotation.boxes).all() and (annotation.boxes >= 0).all()
    if left_out:
        raise LeftOut("; ".join(left_out))


def photos(folder: Path) -> None:
    for name, options in PHOTOS.items():
        write_photo(folder / name, SIZE, **options)
    write_text(folder / "boxes.csv", "file,x0,y0,x1,y1,label\n" + "".join(f"{name},1,2,9,9,cat\n" for name in PHOTOS))


def voc(folder: Path) -> None:
    parts = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    objects = [voc_object("cat", (1, 2, 20, 20), extra=parts), voc_object("dog", (3, 3, 9, 9), difficult=True)]
    write_voc(folder, {"one": objects, "two": objects[:1]}, SIZE)


def imagenet(folder: Path, kaggle: bool) -> None:
    names = ("n01/n01_1", "n02/n02_1")
    for name in names:
        write_photo(folder / "Data" / "CLS-LOC" / "train" / f"{name}.JPEG", SIZE)
        if not kaggle:
            xml = voc_xml([voc_object(name[:3], (1, 1, 9, 9))], SIZE, name[4:])
            write_text(folder / "Annotations" / "CLS-LOC" / "train" / f"{name}.xml", xml)
    write_text(folder / "ImageSets" / "CLS-LOC" / "train_loc.txt", "".join(f"{name} 1\n" for name in names))
    rows = "".join(f"{name[4:]},{name[:3]} 1 1 9 9 n03 2 2 8 8\n" for name in names)
    write_text(folder / "LOC_train_solution.csv", f"ImageId,PredictionString\n{rows}")


def tiny_imagenet(folder: Path) -> None:
    for name in ("val_0.JPEG", "val_1.JPEG"):
        write_photo(folder / "val" / "images" / name, SIZE)
    write_text(folder / "val" / "val_annotations.txt", "val_0.JPEG\tn01\t0\t1\t9\t9\nval_1.JPEG\tn02\t2\t2\t8\t9\n")


def wsol(folder: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_photo(folder / "dataset" / "CUB" / "x" / name, SIZE)
    for name, rest in WSOL.items():
        write_text(folder / "metadata" / "CUB" / "test" / f"{name}.txt", f"x/a.jpg{rest}\nx/b.jpg{rest}\n")


def coco(folder: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_photo(folder / "val2017" / name, SIZE)
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
        "categories": [{"id": 1, "name": "zebra"}, {"id": 2, "name": "ant"}],
        "annotations": [{"image_id": i, "category_id": 1, "bbox": [1.5, 2, 9, 9], "iscrowd": 0} for i in (7, 8)],
    }
    write_text(folder / "annotations" / "instances_val2017.json", json.dumps(content))


def weights(folder: Path) -> None:
    shutil.copy(Path(__file__).parents[2] / "data" / "scenes_cnn.safetensors", folder / "net.safetensors")


def keras(folder: Path) -> None:
    net = random_network(SMALL_VGG())
    with h5py.File(folder / "vgg.h5", "w") as file:
        for name, value in exported(net.architecture, SCHEMES["vgg16"][2], net.weights).items():
            layer, _, part = name.partition(".")
            file.create_dataset(f"{layer}/{layer}_{part}:0", data=value, compression="gzip")


def torch_files(folder: Path) -> None:
    net = random_network(SMALL_VGG())
    tensors = torch_saved.state(exported(net.architecture, SCHEMES["vgg16"][0], net.weights))
    torch_saved.save_zip(folder / "vgg.pth", {"epoch": 3, "state_dict": tensors})
    torch_saved.save_zip(folder / "packed.pth", tensors, zipfile.ZIP_DEFLATED)
    torch_saved.save_legacy(folder / "old.pth", tensors)


def hostile_pickles(folder: Path) -> None:
    """Pickles that would run something, here as the seeds that changes are made to."""
    bomb: list = []
    for _ in range(40):
        bomb = [bomb, bomb]
    contents = {
        "system": {"a": torch_saved.Named("os.system")("touch harm")},
        "nested": {"state_dict": {"a": [torch_saved.Named("builtins.exec")("open('harm', 'w')")]}},
        "reduce": {"a": torch_saved.Named("torch._utils._rebuild_tensor_v2")(*[torch_saved.Named("os.system")] * 6)},
        "bomb": {"a": bomb, "b": np.ones(3, np.float32)},
        "repeated": {"a": torch_saved.Stored(np.ones(9, np.float32)).view((2**30, 2**30), (0, 0))},
    }
    for name, content in contents.items():
        torch_saved.save_zip(folder / f"{name}.pth", content)
        torch_saved.save_legacy(folder / f"{name}_old.pth", content)


def read_hostile(folder: Path) -> None:
    """Read all; nothing that a file says is run. Refusing is right, and so is finding harmless numbers."""
    here = Path.cwd()
    refusals = []
    for path in sorted(folder.glob("*.pth")):
        try:
            read_torch(path)
        except InputError as error:
            refusals.append(error)
    assert not (here / "harm").exists() and not (folder / "harm").exists(), "something was run"
    raise LeftOut(f"{len(refusals)} refused")


def read_vgg(folder: Path, *names: str) -> None:
    with patch.dict(ARCHITECTURES, {"vgg16": SMALL_VGG}):
        for name in names:
            load_network("vgg16", folder / name)


def read_keras(folder: Path) -> None:
    with patch.dict(ARCHITECTURES, {"vgg16": SMALL_VGG}):
        load_network("vgg16", folder / "vgg.h5")


def maps(folder: Path) -> None:
    own = np.random.default_rng(0).random(SIZE)
    np.save(folder / "map.npy", own)
    np.savez(folder / "map.npz", own)
    np.savez_compressed(folder / "packed.npz", own, own)


def linear_map(folder: Path) -> None:
    own = np.ones((1, 6, 7), np.float32)
    LinearMap(np.ones((42, 4)), np.ones(4), Features.raw(), "corners", own, {"network": "a"}, {"penalty": 1.0}).save(
        folder / "map.safetensors"
    )


def read_linear_map(folder: Path) -> None:
    linear = load_linear_map(folder / "map.safetensors")
    assert linear.predict(np.ones((1, *linear.typical.shape))).shape == (1, 4)


WAYS = list(thinner(Options(), SIZE))
COVERED = np.random.default_rng(0).random((5, 8, 12)).astype(np.float32)


def coverage_map(folder: Path) -> None:
    boxes = np.array([[0.0, 0, 6, 4], [4, 4, 12, 8], [2, 0, 9, 4], [0, 4, 4, 8], [1, 1, 9, 7]])
    fit_coverage(COVERED, boxes, source={"method": "cam", "dataset": "a"}).save(folder / "cover.safetensors")


def read_coverage_map(folder: Path) -> None:
    assert read_bundle(folder / "cover.safetensors").predict(COVERED).shape == (5, 4)


def placement(folder: Path) -> None:
    write_placement(folder, Preprocessing((6, 7), mode="crop", shorter=8))
    np.save(folder / "a.npy", np.random.default_rng(0).random((6, 7)))


def read_placed(folder: Path) -> None:
    found = external_maps(folder, ["a"], [(24, 32)])
    moved(read_map(folder / "a.npy"), where(found.entry, (24, 32), (6, 7)), where(None, (24, 32), (12, 16)))


def budget(folder: Path) -> None:
    seconds = {"grad-cam": 0.01, "gradient-max": 0.04, "rise": 2.5}
    passes = {"gradient-max": "gradient of logit"}
    save(Choice(1.0, 0.01, 0.03, 0.002, 1, seconds, passes, ("grad-cam",), WAYS[1], "", "abc"), folder)


def read_budget(folder: Path) -> bool:
    found = remembered(folder, "abc", 1.0, WAYS)
    if found is None:
        return False
    times = found.forward, found.both, found.after, *found.seconds.values()
    assert all(0 <= one < np.inf for one in times) and found.settings in WAYS and set(found.taken) <= set(METHODS)
    found.sentence()
    return True


def store(folder: Path) -> None:
    described = {"network": "vgg16", "precision": "float16", "size": [6, 7]}
    made = create_store(folder / "store", described, n=4, shard_size=2)
    for number in made.shards:
        records = tuple(Record(f"p{i}", SIZE, ("cat",), ((1.0, 2, 9, 9),), f"hash{i}") for i in made.images(number))
        made.write(number, Shard(np.ones((2, 6, 7), np.float32), records))
    made.finish()


def read_store(folder: Path) -> None:
    found = open_store(folder / "store")
    assert sum(len(found.records(number)) for number in found.shards) == sum(len(shard.records) for shard in found) == 4


def results(folder: Path) -> None:
    row = {"method": "gradient-max", "route": "linear map", "corloc": 0.5, "corloc_low": 0.4, "corloc_high": 0.6}
    row |= {
        "mean_iou": 0.5,
        "forwards": 1,
        "backwards": 1,
        "saved": 0.0,
        "ms_per_image": 2.5,
        "peak_mib": None,
        "no_box": 0,
    }
    known = {
        "key": "abc",
        "test": 9,
        "train": 9,
        "folds": 0,
        "network": {"name": "vgg16"},
        "accuracy": 0.9,
        "rows": [row],
    }
    write_text(folder / "results.json", json.dumps(known))


def regions(folder: Path) -> None:
    write_text(folder / "regions.csv", "photo,name,x0,y0,x1,y1\na.png,eye,1,2,9,9\n,mouth,10%,10%,50%,50%\n")
    write_text(
        folder / "regions.json", json.dumps({"a.png": {"eye": [1, 2, 9, 9], "mouth": ["10%", "10%", "50%", "50%"]}})
    )


def read_region(folder: Path, name: str) -> None:
    seen = np.zeros((*SIZE, 3), np.uint8)
    subject = SimpleNamespace(seen=seen, placement=Preprocessing(SIZE, mode="stretch").placement(SIZE), file="a.png")
    for region in read_regions(folder / name):
        placed(f"{folder / name}: region {region.name!r}", region.corners, subject)


def classes(folder: Path) -> None:
    write_text(folder / "classes.csv", "index,wnid,name\n0,n01440764,tench\n1,n01443537,goldfish\n")
    write_text(folder / "classes.txt", "n01440764 tench, Tinca tinca\nn01443537 goldfish\n")


def boxes(folder: Path) -> None:
    write_text(folder / "boxes.csv", "image,label,x0,y0,x1,y1\none,cat,1,2,3,4\ntwo,dog,nan,nan,nan,nan\n")


def each(read: Callable[[Path], object], *names: str) -> Callable[[Path], None]:
    """Read some files one after another."""

    def reads(folder: Path) -> None:
        for name in names:
            read(folder / name)

    return reads


FORMATS = {
    "VOC XML": dataset("voc", voc, "Annotations/one.xml"),
    "VOC split": dataset("voc", voc, "ImageSets/Main/trainval.txt"),
    "ILSVRC XML": dataset("imagenet", partial(imagenet, kaggle=False), f"{CLS}/train/n01/n01_1.xml", split="train"),
    "ILSVRC list": dataset(
        "imagenet", partial(imagenet, kaggle=False), "ImageSets/CLS-LOC/train_loc.txt", split="train"
    ),
    "Kaggle CSV": dataset("imagenet", partial(imagenet, kaggle=True), "LOC_train_solution.csv", split="train"),
    "Tiny ImageNet text": dataset("tiny_imagenet", tiny_imagenet, "val/val_annotations.txt"),
    "wsol text": dataset("wsol", wsol, *(f"metadata/CUB/test/{name}.txt" for name in WSOL)),
    "COCO JSON": dataset("coco", coco, "annotations/instances_val2017.json"),
    "folder CSV": dataset("folder", photos, "boxes.csv"),
    "JPEG": dataset("folder", photos, "grey.jpg", "cmyk.jpg"),
    "PNG": dataset("folder", photos, "plain.png", "palette.png", "alpha.png"),
    "other photos": dataset("folder", photos, "a.gif", "b.webp", "c.bmp", "lzw.tif"),
    "safetensors": Format(
        weights,
        ("net.safetensors",),
        lambda folder: load_network("scenes_cnn", folder / "net.safetensors"),
        "make_maps --limit 1 --weights {folder}/net.safetensors",
    ),
    "Keras h5": Format(keras, ("vgg.h5",), read_keras, "make_maps --limit 1 --network vgg16 --weights {folder}/vgg.h5"),
    "PyTorch": Format(
        torch_files,
        ("vgg.pth", "packed.pth", "old.pth"),
        lambda folder: read_vgg(folder, "vgg.pth", "packed.pth", "old.pth"),
        "make_maps --limit 1 --network vgg16 --weights {folder}/vgg.pth",
    ),
    "hostile pickles": Format(
        hostile_pickles,
        tuple(
            f"{name}{old}.pth" for name in ("system", "nested", "reduce", "bomb", "repeated") for old in ("", "_old")
        ),
        read_hostile,
    ),
    "npy and npz maps": Format(maps, MAPS, each(read_map, *MAPS)),
    "npz shards": Format(maps, MAPS[1:], each(read_arrays, *MAPS[1:])),
    "linear map": Format(
        linear_map,
        ("map.safetensors",),
        read_linear_map,
        "evaluate --network scenes_cnn --limit 2 --bundle {folder}/map.safetensors",
    ),
    "coverage map": Format(
        coverage_map,
        ("cover.safetensors",),
        read_coverage_map,
        "compare --methods cam --n-test 20 --quality 0 --bundle {folder}/cover.safetensors",
    ),
    "placement.json": Format(placement, ("placement.json",), read_placed),
    "budget.json": Format(budget, ("budget.json",), read_budget),
    "store's shards": Format(store, ("store/maps-00000.safetensors",), read_store, "fit_boxes --stores {folder}/store"),
    "store's JSON": Format(
        store, ("store/store.json", "store/index.json"), read_store, "fit_boxes --stores {folder}/store"
    ),
    "results.json": Format(results, ("results.json",), lambda folder: saved(folder, "abc")),
    "region CSV": Format(
        regions,
        ("regions.csv",),
        partial(read_region, name="regions.csv"),
        "analyze_occlusion --scenes 1 --regions {folder}/regions.csv",
    ),
    "region JSON": Format(regions, ("regions.json",), partial(read_region, name="regions.json")),
    "class names": Format(
        classes,
        ("classes.csv", "classes.txt"),
        each(read_classes, "classes.csv", "classes.txt"),
        "analyze_occlusion --scenes 1 --classes {folder}/classes.csv",
    ),
    "boxes CSV": Format(
        boxes, ("boxes.csv",), each(read_boxes, "boxes.csv"), "evaluate --limit 5 --boxes {folder}/boxes.csv"
    ),
}
if find_spec("onnx") and find_spec("onnxruntime"):
    from tests.campaigns import onnx_files

    FORMATS["ONNX"] = Format(
        onnx_files.write,
        ("model.onnx", "apart.onnx", "apart.bin"),
        each(from_onnx, "model.onnx", "apart.onnx"),
        edit=onnx_files.edited,
        edits=".onnx",
    )


def mutated(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """One or two changes; half of them near the beginning, where headers are, and most of them short."""
    for _ in range(rng.integers(1, 3)):
        end = len(content) if rng.random() < 0.5 else min(len(content), 512)
        first = int(rng.integers(0, end + 1))
        last = min(first + int(2 ** rng.uniform(0, 16)), len(content))
        match rng.integers(7):
            case 0:
                changed = bytearray(content)
                for i in rng.integers(0, max(1, len(content)), rng.integers(1, 9)).tolist():
                    changed[i : i + 1] = rng.bytes(1)
                content = bytes(changed)
            case 1:
                content = content[:first]
            case 2:
                content = content[:first] + content[last:]
            case 3:
                content = content[:first] + rng.bytes(int(rng.integers(1, 64))) + content[first:]
            case 4:
                content = content[:last] + content[first:last] * int(rng.integers(1, 9)) + content[last:]
            case 5:
                content = content[:first] + other[int(rng.integers(0, len(other) + 1)) :]
            case 6:
                words = list(re.finditer(rb"[\w./-]+", content[:100_000]))
                word = words[rng.integers(len(words))] if words else re.match(b"", content)
                content = content[: word.start()] + HOSTILE[rng.integers(len(HOSTILE))] + content[word.end() :]
    return content


@dataclass(frozen=True)
class Cases:
    """A format's valid files in a folder; case number i is the same on every machine and in every order."""

    name: str
    folder: Path
    seed: int

    def __post_init__(self) -> None:
        FORMATS[self.name].write(self.folder)

    def alter(self, number: int) -> tuple[Path, bytes]:
        """Alter the victim of a case; its path, and what it held."""
        victims = [self.folder / victim for victim in FORMATS[self.name].victims]
        rng = np.random.default_rng([self.seed, number, *self.name.encode()])
        victim = victims[number % len(victims)]
        whole = victim.read_bytes()
        other, kind = victims[rng.integers(len(victims))].read_bytes(), FORMATS[self.name]
        if kind.edit and victim.suffix == kind.edits and rng.random() < 0.5:
            victim.write_bytes(kind.edit(rng, whole))
        else:
            victim.write_bytes(mutated(rng, whole, other))
        return victim, whole

    def outcome(self, number: int) -> str:
        """What becomes of a case: accepted, refused, or a failure in words."""
        victim, whole = self.alter(number)
        reset_peak_memory()
        before, start = peak_memory() or 0, time.process_time()
        try:
            said = "accepted" if FORMATS[self.name].read(self.folder) is not False else "refused"
        except InputError as error:
            named = victim.stem in str(error) or isinstance(error, LeftOut) or "no usable photo" in str(error)
            said = "refused" if named and "\n" not in str(error) else f"nameless, or several lines: {error}"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            victim.write_bytes(whole)
        if time.process_time() - start > SECONDS:
            return f"slow: {time.process_time() - start:.1f} s"
        grown = (peak_memory() or 0) - before
        return f"large: {grown:,} bytes" if grown > BYTES else said


def work(pipe: Connection, name: str, seed: int, numbers: Sequence[int]) -> None:
    """In a process of its own: the outcomes of some cases, in order."""
    used = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * BYTES,) * 2)  # the belt; what counts is what is touched
    with (
        tempfile.TemporaryDirectory() as folder,
        open("/dev/null", "w") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        cases = Cases(name, Path(folder), seed)
        for number in numbers:
            pipe.send(cases.outcome(number))


def outcomes(name: str, seed: int, numbers: range) -> Iterator[tuple[int, str]]:
    """Each case's outcome; a process that dies or says nothing has failed, and another goes on after that case."""
    context, left = get_context("forkserver"), list(numbers)
    context.set_forkserver_preload(["tests.campaigns.mutations"])
    while left:
        pipe, far_end = context.Pipe()
        process = context.Process(target=work, args=(far_end, name, seed, left), daemon=True)
        process.start()
        far_end.close()
        said = ""
        while left and not said.startswith("lost"):
            try:
                said = pipe.recv() if pipe.poll(PATIENCE) else "lost: hangs"
            except EOFError:
                process.join()
                said = f"lost: the process died ({process.exitcode})"
            yield left.pop(0), said
        process.kill()
        process.join()


def script_failure(name: str, seed: int, number: int) -> str | None:
    """A whole script on a case: anything but exit code 0, or 2 with one sentence and no results."""
    with tempfile.TemporaryDirectory() as place:
        (folder := Path(place) / "in").mkdir()
        Cases(name, folder, seed).alter(number)
        out, errors = Path(place) / "out", Path(place) / "errors"
        script, *words = FORMATS[name].script.format(folder=folder).split()
        words += ["--out", str(out), "--quiet"]
        process = get_context("forkserver").Process(target=_script, args=(script, words, Path(place), errors))
        process.start()
        process.join(PATIENCE)
        process.kill()
        said = errors.read_text()
        first, *rest = said.splitlines() or [""]
        summary = " no usable photo in " in first  # is followed by what was left out, a line for each problem
        refused = process.exitcode == 2 and first.startswith("error: ") and (summary or not rest)
        if process.exitcode == 0 or (refused and not (out / "results.json").exists()):
            return None
        return f"{script}, exit code {process.exitcode}: {said[-300:]}"


@dataclass(frozen=True)
class Options:
    """Read altered files."""

    n: int = 10_000
    """Cases, shared evenly by the formats."""
    seed: int = 0
    scripts: int = 20
    """Whole scripts run on some of the cases."""
    only: tuple[str, ...] = tuple(FORMATS)
    """Formats."""


def main(options: Options) -> int:
    kinds, failures, together = ("accepted", "refused", "failed"), [], Counter[str]()
    print(f"{'format':<22}{'tried':>8}" + "".join(f"{kind:>10}" for kind in kinds))
    for name in options.only:
        counts = Counter[str]()
        for number, said in outcomes(name, options.seed, range(-(-options.n // len(options.only)))):
            counts[said if said in kinds else "failed"] += 1
            if said not in kinds:
                failures.append(f"{name}, case {number}: {said[:300]}")
        print(row(name, counts, kinds), flush=True)
        together += counts
    print(row("together", together, kinds))
    runnable = [name for name in options.only if FORMATS[name].script]
    for number in range(options.scripts if runnable else 0):
        name = runnable[number % len(runnable)]
        if said := script_failure(name, options.seed, number):
            failures.append(f"{name}, case {number}: {said}")
    print(f"{options.scripts if runnable else 0} scripts run, {len(failures)} failures in all", *failures, sep="\n")
    return 1 if failures else 0


def row(name: str, counts: Counter[str], kinds: Sequence[str]) -> str:
    return f"{name:<22}{counts.total():>8}" + "".join(f"{counts[kind]:>10}" for kind in kinds)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
