"""What is compared on each set of photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from localization.regression.cells import Cells
from scripts.benchmarks.boxes.chooser import chosen, small_network
from scripts.benchmarks.boxes.photos import ANIMALS, Photos, scenes_photos, tiny_photos, voc_photos
from scripts.benchmarks.boxes.routes import (
    CONTEXT,
    FINER,
    NO_PHOTO,
    SMALL,
    Route,
    a_class,
    by_coverage,
    equation_4,
    flip_equivariant,
    heuristic,
    lad,
    of_map,
)
from scripts.benchmarks.boxes.sources import MAPS, SCENES_MAPS

S, E, C, V = "squeezenet1_1", "efficientnet_lite0", "scenes_cnn", "vgg16_features"
E_CHANNELS = (f"{E}:block10", f"{E}:block15")
S_CHANNELS = (f"{S}:fire7", f"{S}:fire9")
E_ASKED = tuple(f"{E}-asked:asked-{name}" for name in ("gxa", "odds", "cam"))
C_CHANNELS = (f"{C}:relu3_2", f"{C}:relu4_2")
C_MAPS = tuple(f"{C}:{name}" for name in SCENES_MAPS)
S_MAPS = tuple(f"{S}:{name}" for name in MAPS)


@dataclass(frozen=True)
class Set:
    """`photos(shared)`, `routes`, and which samples are learned from and scored, of all."""

    photos: Callable[[Path], Photos]
    routes: Sequence[Route]
    learned: Callable[[Photos], np.ndarray] | None = None
    scored: Callable[[Photos], np.ndarray] | None = None


def _raccoon(shared: Path) -> Photos:
    return voc_photos("raccoon", shared / "data" / "raccoon_voc")


def _voc(shared: Path, lists: bool = False) -> Photos:
    return voc_photos("voc", shared / "data" / "voc2012_animals", lists=lists)


def _voc_objects(shared: Path) -> Photos:
    """VGG16 takes long: 384 photos of train and 256 of val."""
    root = shared / "data" / "voc2012_animals"
    return voc_photos("voc_objects", root, lists=True, each="object", limits=(384, 256))


def _animal(photos: Photos) -> np.ndarray:
    return np.isin(photos.label, ANIMALS)


def _alone(photos: Photos) -> np.ndarray:
    return _animal(photos) & (photos.objects == 1)


def _among_others(photos: Photos) -> np.ndarray:
    return _animal(photos) & (photos.objects > 1)


def _maps(names: Sequence[str], linear, cells=None) -> list[Route]:
    return [route for name in names for route in of_map(name, linear, cells)]


def _scale(side: int, *blocks: int | str) -> tuple[str, ...]:
    """EfficientNet-Lite0's blocks of photos of that side."""
    return tuple(f"{E}-{side}:{block if isinstance(block, str) else f'block{block}'}" for block in blocks)


SETS = {
    "scenes": Set(
        lambda _: scenes_photos(),
        [
            NO_PHOTO,
            *_maps(C_MAPS[:4], lad, SMALL),
            by_coverage(*C_CHANNELS, cells=SMALL[1:2] + CONTEXT),
            by_coverage(*C_CHANNELS, *C_MAPS, cells=SMALL[1:2] + CONTEXT),
        ],
    ),
    "raccoon": Set(
        _raccoon,
        [
            NO_PHOTO,
            *_maps(S_MAPS, flip_equivariant),
            by_coverage(*S_MAPS, cells=None),
            by_coverage(*E_CHANNELS),
            by_coverage(*S_CHANNELS),
            by_coverage(*E_CHANNELS, *S_MAPS),
        ],
    ),
    "voc_animals": Set(
        _voc,
        [
            NO_PHOTO,
            *_maps(S_MAPS, flip_equivariant, FINER[:1]),
            by_coverage(*S_MAPS),
            by_coverage(*E_CHANNELS),
        ],
        _alone,
        _alone,
    ),
    "voc_lists": Set(  # the same photos by the lists of train and val: what takes long
        lambda shared: _voc(shared, lists=True),
        [
            NO_PHOTO,
            by_coverage(*E_CHANNELS),
            by_coverage(*S_CHANNELS),
            Route("chooser", E_CHANNELS, chosen),
            Route("small network", E_CHANNELS, small_network),
        ],
        _alone,
        _alone,
    ),
    "voc_several": Set(
        lambda shared: _voc(shared, lists=True),
        [
            NO_PHOTO,
            *_maps(E_ASKED[:2], lad, FINER[:1]),
            by_coverage(*E_ASKED),
            by_coverage(*E_CHANNELS),
            a_class(by_coverage(*E_CHANNELS)),
            by_coverage(*E_CHANNELS, *E_ASKED),
            a_class(by_coverage(*E_CHANNELS, *E_ASKED)),
            Route("chooser", (*E_CHANNELS, *E_ASKED), partial(chosen, maps=(2, 3))),
        ],
        _animal,
        _among_others,
    ),
    "voc_other": Set(
        lambda shared: _voc(shared, lists=True),
        [
            NO_PHOTO,
            *_maps(E_ASKED[:1], lad, FINER[:1]),
            by_coverage(*E_CHANNELS),
            by_coverage(*E_CHANNELS, *E_ASKED),
            a_class(by_coverage(*E_CHANNELS, *E_ASKED)),
        ],
        None,
        lambda photos: ~_animal(photos),
    ),
    "tiny": Set(
        lambda shared: tiny_photos(shared / "data" / "tiny-imagenet-200"),
        [
            NO_PHOTO,
            *_maps((f"{E}-224:cam",), lad, FINER[:1]),
            by_coverage(*_scale(224, 10, 15)),
            by_coverage(*_scale(224, 4, 10, 15, "cam"), cells=FINER[1:]),
            by_coverage(*_scale(320, 4, 10, 15, "cam"), cells=FINER[1:]),
            by_coverage(*_scale(224, 10, 15, "cam"), cells=(Cells(context=(0.06, 0.15)),), key="context"),
            by_coverage(*_scale(224, 10, 15, "cam"), *_scale(320, 10, 15, "cam")),
            *_maps(E_ASKED[2:], lad, FINER[:1]),
            by_coverage(*_scale(224, 10, 15, "cam"), *E_ASKED),
            by_coverage(*_scale(224, 10, 15, "cam"), *_scale(320, 10, 15, "cam"), *E_ASKED),
            by_coverage(
                *_scale(224, 10, 15, "cam"),
                *_scale(320, 10, 15, "cam"),
                *E_ASKED,
                cells=(Cells(context=(0.1,)),),
                key="context",
            ),
        ],
    ),
    "voc_vgg": Set(
        _voc_objects,
        [
            NO_PHOTO,
            Route("heuristic", (f"{V}:gestalt-max",), heuristic),
            Route("Eq. 4", (f"{V}:gestalt-max",), equation_4),
            Route("lad", (f"{V}:gestalt-max",), lad),
            by_coverage(f"{V}:gestalt-max", cells=None),
            by_coverage(f"{V}:relu5_3"),
            a_class(by_coverage(f"{V}:relu5_3")),
        ],
    ),
}
