"""One bad value for every argument of every public function: an InputError that names the argument and says its range.

Arguments are checked before anything is traced or compiled, so that the whole table takes a second.
"""

import inspect
from pathlib import Path

import numpy as np
import pytest

import localization
import saliency
from localization import datasets
from localization.regression.linear_map import LinearMap
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn

NET = random_network(scenes_cnn(((4,), (6,)), size=(14, 18)))
X = np.zeros((2, 14, 18, 3), np.float32)
MAPS = np.random.default_rng(0).random((4, 6, 7))
BOX = np.array([[0.0, 0, 2, 3], [1, 1, 4, 4], [0, 0, 5, 5], [2, 2, 3, 3]])
LINEAR = LinearMap(np.zeros((42, 4)), np.zeros(4), localization.Features.raw(), "corners", MAPS[:1], {"network": "a"})

GOOD = {
    saliency.gradient_maps: {"net": NET, "x": X},
    saliency.grad_cam: {"net": NET, "x": X},
    saliency.occlusion_maps: {"net": NET, "x": X, "patch": 6, "stride": 4},
    saliency.load_network: {"name": "scenes_cnn"},
    saliency.Score: {},
    localization.Features: {},
    localization.best_iou: {"predicted": BOX, "true": BOX},
    localization.bootstrap: {"values": [0, 1, 1]},
    localization.corloc: {"predicted": BOX, "true": BOX},
    localization.corloc_by_class: {"predicted": BOX, "true": BOX, "classes": list("abab")},
    localization.mean_iou: {"predicted": BOX, "true": BOX},
    localization.paired_difference: {"first": [0, 1, 1], "second": [1, 1, 1]},
    localization.mcnemar_exact: {"first": [0, 1, 1], "second": [1, 1, 1]},
    localization.wilson: {"hits": 1, "n": 2},
    localization.fit_linear_map: {"maps": MAPS, "boxes": BOX},
    localization.load_linear_map: {"path": "map.safetensors"},
    LINEAR.predict: {"maps": MAPS},
    datasets.load: {"name": "voc", "root": "."},
    datasets.scenes: {},
}

MISSING = Path("no/such/file.csv")
PROGRESS = ("yes", r"progress must be a function of \(done, total\)")
SEED = (-1, "seed must be a whole number of at least 0")
LEVEL = (95, "level must be a finite number above 0 and below 1")
CLUSTERS = ([1, 2], r"clusters must name one for each of the 3 samples, not \[2\]")
IMAGES = ([1, 2], r"images must name one for each of the 4 samples, not \[2\]")
CLASSES = ("ab", "classes must name one for each of the 4 samples")
PREDICTED = ([1, 2], r"predicted boxes must be \[n, 4\]")
TRUE = (BOX * np.nan, "true boxes hold NaN")
THRESHOLD = (1.5, "threshold must be a finite number of at least 0 and below 1")
HITS = {
    "predicted": PREDICTED,
    "true": TRUE,
    "classes": CLASSES,
    "images": IMAGES,
    "threshold": THRESHOLD,
    "seed": SEED,
}
NETWORK = ("vgg16", "net must be a Network, as load_network gives it")
INPUT = (np.zeros((2, 14, 18, 3), np.uint8), "x must be float, normalised by net.preprocess, not uint8")
TARGET = ([0, 99], r"target must lie in 0\.\.9")

BAD = {
    saliency.gradient_maps: {
        "net": NETWORK,
        "x": INPUT,
        "score": ("loss", "score must be one of logit, log_probability, gestalt or gestalt:LAYER"),
        "target": TARGET,
        "aggregate": ("sum", "aggregate must be one of max, mean, l2, signed"),
        "batch": (0, "batch must be a whole number of at least 1"),
        "progress": PROGRESS,
    },
    saliency.grad_cam: {
        "net": NETWORK,
        "x": (X[0], r"x must be \[n, h, w, 3\]"),
        "layer": ("conv99", "no layer 'conv99'; its layers are conv1"),
        "target": TARGET,
        "progress": PROGRESS,
    },
    saliency.occlusion_maps: {
        "net": NETWORK,
        "x": (np.full_like(X, np.nan), "x holds NaN"),
        "patch": (15, "patch must be 1 to 14 px high"),
        "stride": (0, "stride must be at least 1 px"),
        "fill": ("fog", "fill must be grey, mean, blur, noise, a level"),
        "score": (3, "score must be one of logit"),
        "target": (
            "cat",
            "target must be one class index or one for each of the 2 images, not 'cat'; the network's classes",
        ),
        "windows": (3, "windows must be a Windows, of the images' size"),
        "execution": ("dense", "execution must be a Execution, how occlusion is computed"),
        "seed": SEED,
        "preprocess": ("vgg", "preprocess must be a Preprocessing"),
        "progress": PROGRESS,
    },
    saliency.load_network: {
        "name": ("vgg61", "unknown network 'vgg61'; choose one of scenes_cnn"),
        "weights": (MISSING, r"file\.csv: no such file of weights"),
        "classes": (MISSING, r"file\.csv: no such file"),
    },
    saliency.Score: {
        "kind": ("loss", "kind must be one of logit, log_probability, gestalt"),
        "layer": ("conv1", "layer must be the name of a layer, and of a gestalt score only"),
    },
    localization.Features: {
        "size": ((0, 3), "size must be a whole number of at least 1"),
        "smooth": (-1, "smooth must be a finite number of at least 0"),
        "focus": (np.nan, "focus must be a finite number of at least 0"),
        "power": (0, "power must be a finite number above 0"),
        "normalise": ("most", "normalise must be one of none, sum, max, standardised"),
        "pixels": ("no", "pixels must be a bool"),
        "profiles": ((0.0, 0.5), "profiles must be a finite number above 0 and below 1"),
        "softness": (np.inf, "softness must be a finite number above 0"),
    },
    localization.best_iou: {"predicted": PREDICTED, "true": (BOX[:2], "4 predicted boxes do not pair with the true")},
    localization.bootstrap: {
        "values": (["a"], r"values must be numbers \[n\]"),
        "clusters": CLUSTERS,
        "classes": ([1], r"classes must name one for each of the 3 samples, not \[1\]"),
        "level": LEVEL,
        "draws": (0, "draws must be a whole number of at least 1"),
        "seed": SEED,
    },
    localization.corloc: HITS,
    localization.corloc_by_class: HITS,
    localization.mean_iou: {
        "predicted": PREDICTED,
        "true": (7, r"true boxes must be \[n, 4\], or n arrays"),
        "classes": CLASSES,
        "images": IMAGES,
        "seed": SEED,
    },
    localization.paired_difference: {
        "first": ([1], "first and second must be of the same samples, not 1 and 3"),
        "second": (["a", "b", "c"], r"second must be numbers \[n\]"),
        "clusters": CLUSTERS,
        "classes": ([1], "classes must name one"),
        "level": LEVEL,
        "draws": (2.5, "draws must be a whole number of at least 1"),
        "seed": SEED,
    },
    localization.mcnemar_exact: {
        "first": ([[1], [0], [1]], r"first must be numbers \[n\]"),
        "second": ([1], "first and second must be of the same samples"),
    },
    localization.wilson: {
        "hits": (3, r"hits must lie in 0\.\.n, not 3 of 2"),
        "n": (-2, "n must be a whole number of at least 0"),
        "level": LEVEL,
    },
    localization.fit_linear_map: {
        "maps": (MAPS[0], r"maps must be numbers \[n, h, w\]"),
        "boxes": (BOX[:3], "3 boxes do not pair with 4 maps"),
        "method": ("magic", "method must be one of ridge, lad, iou, sgd"),
        "features": ("raw", "features must be a Features"),
        "coding": ("polar", "coding must be one of corners, centre"),
        "lambdas": ((1.0, 0.0), "lambdas must be a finite number above 0"),
        "steps": (0, "steps must be a whole number of at least 1"),
        "seed": SEED,
        "source": ("vgg16", "source must be a Mapping"),
    },
    localization.load_linear_map: {"path": (MISSING, r"file\.csv: no such file")},
    LINEAR.predict: {
        "maps": (MAPS[:, :5], "fitted to maps of 6x7 and cannot be applied to 5x7"),
        "source": ({"network": "b"}, "fitted to maps of network 'a', these are of 'b'"),
    },
    datasets.load: {
        "name": ("vco", "name must be one of scenes, voc, imagenet"),
        "root": (MISSING, r"file\.csv: no such folder; voc is read from where it lies"),
        "split": (3, "split must be a str"),
        "classes": (3, "classes must be a Collection"),
        "limit": (0, "limit must be a whole number of at least 1"),
        "seed": SEED,
    },
    datasets.scenes: {
        "split": ("all", "split must be one of train, val, test"),
        "n": (-1, "n must be a whole number of at least 0"),
        "seed": SEED,
    },
}

# Taken for their truth, so that no value is bad.
ANY = {
    saliency.grad_cam: {"resize"},
    localization.corloc: {"strict"},
    localization.corloc_by_class: {"strict"},
}
# What functions give, and the error itself: nobody is meant to call these with arguments of his own.
RESULTS = {saliency.InputError, saliency.OcclusionMaps, localization.Estimate, localization.LinearMap}


@pytest.mark.parametrize(
    ("function", "name", "value", "says"),
    [(function, name, *bad) for function, table in BAD.items() for name, bad in table.items()],
    ids=lambda value: getattr(value, "__name__", value if isinstance(value, str) else ""),
)
def test_a_bad_argument_is_named(function, name, value, says):
    with pytest.raises(saliency.InputError, match=says) as refused:
        function(**{**GOOD[function], name: value})
    assert "\n" not in str(refused.value)


def test_the_table_covers_every_argument_of_every_public_function():
    exported = {getattr(module, name) for module in (saliency, localization) for name in module.__all__}
    public = {one for one in exported if callable(one)} - RESULTS
    assert public <= BAD.keys()
    for function, table in BAD.items():
        parameters = set(inspect.signature(function).parameters)
        assert parameters == table.keys() | ANY.get(function, set()), function


def test_an_input_error_is_a_value_error():
    assert issubclass(saliency.InputError, ValueError)
