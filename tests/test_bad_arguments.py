"""One bad value for every argument of every public function: an InputError that names the argument and says its range.

Arguments are checked before anything is traced or compiled, so that the whole table takes a second.
"""

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

import localization
import saliency
from localization import CoverageMap, LinearMap, datasets
from localization.regression.cells import Cells
from localization.regression.correction import Correction
from saliency import robustness, zeiler_fergus
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.vit import vit

NET = random_network(scenes_cnn(((4,), (6,)), size=(14, 18)))
X = np.zeros((2, 14, 18, 3), np.float32)
TRANSFORMER = random_network(vit(6, 1, 2, 7, classes=10, size=(14, 21)))
WIDE = np.zeros((2, 14, 21, 3), np.float32)
MAPS = np.random.default_rng(0).random((4, 6, 7))
BOX = np.array([[0.0, 0, 2, 3], [1, 1, 4, 4], [0, 0, 5, 5], [2, 2, 3, 3]])
SCENES = datasets.load("scenes", split="test", limit=2)
LINEAR = LinearMap(np.zeros((42, 4)), np.zeros(4), localization.Features.raw(), "corners", MAPS[:1], {"network": "a"})
NO_CORRECTION = Correction(0, np.zeros(1), np.ones(1), None, np.inf)
COVERAGE = CoverageMap(Cells(), np.zeros(1), NO_CORRECTION, (6, 7), ((6, 7),), {"network": "a"})

MODEL = nnx.Sequential(nnx.Conv(3, 2, (3, 3), rngs=nnx.Rngs(0)), lambda x: x.mean((1, 2)))
# Ways in that need a package of an extra, which is asked for first: tests/parity names their bad arguments.
EXTRAS = {saliency.from_keras, saliency.from_onnx, saliency.from_torch}


def APPLY(params, x):
    return x.mean((1, 2)) @ params


GOOD = {
    saliency.gradient_maps: {"net": NET, "x": X},
    saliency.grad_cam: {"net": NET, "x": X},
    saliency.attention_maps: {"net": TRANSFORMER, "x": WIDE, "rule": "chefer"},
    saliency.class_attention_maps: {"net": TRANSFORMER, "x": WIDE},
    saliency.occlusion_maps: {"net": NET, "x": X, "patch": 6, "stride": 4},
    saliency.load_network: {"name": "scenes_cnn"},
    saliency.save_network: {"net": NET, "path": "mine.safetensors", "provenance": {}},
    saliency.score_cam: {"net": NET, "x": X},
    saliency.ablation_cam: {"net": NET, "x": X},
    saliency.full_grad: {"net": NET, "x": X},
    saliency.deep_lift: {"net": NET, "x": X},
    saliency.superpixels: {"image": X[0]},
    saliency.lrp: {"net": NET, "x": X},
    saliency.xrai: {"net": NET, "x": X},
    saliency.expected_gradients: {"net": NET, "x": X, "backgrounds": X},
    saliency.cam: {"net": NET, "x": X},
    saliency.activation_maps: {"net": NET, "x": X},
    saliency.rise_maps: {"net": NET, "x": X},
    saliency.finite_difference_maps: {"net": NET, "x": X},
    saliency.logits: {"net": NET, "x": X},
    saliency.probabilities: {"logits": X},
    saliency.status: {"maps": MAPS},
    saliency.from_function: {"apply": APPLY, "params": np.eye(3, 2, dtype=np.float32), "size": (8, 6)},
    saliency.from_flax: {"model": MODEL, "size": (8, 6)},
    saliency.Score: {},
    saliency.Options: {},
    saliency.Windows: {"image": (14, 18), "patch": 6, "stride": 4},
    saliency.Execution: {},
    saliency.Preprocessing: {"size": (14, 18)},
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
    localization.fit_coverage: {"features": MAPS, "boxes": BOX},
    localization.load_coverage_map: {"path": "map.safetensors"},
    localization.compare: {"net": NET, "data": SCENES, "methods": ["edges"]},
    localization.compare_networks: {"nets": {"a": NET, "b": NET}, "data": SCENES, "methods": ["edges"]},
    localization.CompareOptions: {},
    localization.evaluate: {"data": SCENES},
    localization.make_maps: {"net": NET, "data": SCENES, "folder": "no/such/store"},
    localization.fit: {"stores": ["no/such/store"]},
    localization.top1_loc: {"predicted": BOX, "true": BOX, "class_right": [True] * 4},
    localization.moving_digits: {"n": 1},
    LINEAR.predict: {"maps": MAPS},
    COVERAGE.predict: {"features": MAPS},
    datasets.load: {"name": "voc", "root": "."},
    datasets.scenes: {},
}

VIDEOS = np.zeros((2, 3, 14, 18, 3), np.uint8)
MANY = np.zeros((64, 14, 18, 3), np.uint8)
GOOD |= {
    robustness.Options: {},
    robustness.evaluate: {"nets": NET, "images": VIDEOS, "labels": [0, 1]},
    robustness.train_each: {
        "net": NET, "images": MANY, "labels": np.zeros(64, int), "augmentations": ["cutout"], "epochs": 1,
    },
    zeiler_fergus.Options: {},
    zeiler_fergus.analyze_occlusion: {"net": NET, "photos": [VIDEOS[0, 0]]},
    saliency.overlay: {"photo": VIDEOS[0, 0], "saliency_map": MAPS[0]},
    saliency.use_cache: {"folder": "off"},
    saliency.explain: {"net": NET, "photos": [VIDEOS[0, 0]]},
    saliency.show: {"photos": [VIDEOS[0, 0]], "maps": MAPS[:1]},
    saliency.map_to_photo: {"map": MAPS[0], "placement": NET.preprocess.placement((40, 60))},
}  # fmt: skip

GOOD |= {
    saliency.segment_occlusion: {"net": NET, "x": X},
    saliency.segment_interactions: {"net": NET, "x": X},
    saliency.channel_occlusion: {"net": NET, "x": X, "windows": saliency.Windows((14, 18), 6, 4)},
    saliency.lime_maps: {"net": NET, "x": X},
    saliency.kernel_shap_maps: {"net": NET, "x": X},
    saliency.shapley_maps: {"net": NET, "x": X},
    saliency.sobol_maps: {"net": NET, "x": X},
    saliency.hsic_maps: {"net": NET, "x": X},
    saliency.extremal_maps: {"net": NET, "x": X},
    saliency.superpixels: {"image": X[0], "method": "felzenszwalb"},
    saliency.repeats: {"method": saliency.METHODS["rise"], "net": NET, "x": X},
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
IN = {
    "size": (0, "size must be a whole number of at least 1"),
    "channels": (0, "channels must be a whole number of at least 1"),
    "preprocess": ("vgg", "preprocess must be a Preprocessing, how photos become images"),
    "classes": (["a"], "classes names 1 classes, but .* 2"),
}
BLACK_BOX = ("vgg16", "net must be a Network, as load_network gives it, or a function, not 'vgg16'")
FILL = ("fog", "fill must be grey, mean, blur, noise, a level")
TARGET = ([0, 99], r"target must lie in 0\.\.9")

BAD = {
    saliency.gradient_maps: {
        "net": NETWORK,
        "x": INPUT,
        "score": ("loss", r"score must be one of logit, .*gestalt, gestalt:LAYER or contrast:CLASS"),
        "target": TARGET,
        "aggregate": ("sum", "aggregate must be one of max, mean, l2, signed"),
        "batch": (0, "batch must be a whole number of at least 1"),
        "progress": PROGRESS,
    },
    **{
        one: {
            "net": NETWORK,
            "x": INPUT,
            "layer": ("conv99", "no layer 'conv99'; its layers are conv1"),
            **({"channels": (0, "channels must be a whole number of at least 1")} if one is saliency.score_cam else {}),
            "target": TARGET,
            "progress": PROGRESS,
        }
        for one in (saliency.score_cam, saliency.ablation_cam)
    },
    saliency.full_grad: {"net": NETWORK, "x": INPUT, "target": TARGET, "progress": PROGRESS},
    saliency.deep_lift: {
        "net": NETWORK,
        "x": INPUT,
        "score": ("loss", r"score must be one of logit"),
        "target": TARGET,
        "fill": FILL,
        "baselines": (X[:, :12], r"baselines must be images of x's size, \[m, 14, 18, 3\]"),
        "progress": PROGRESS,
    },
    saliency.superpixels: {
        "image": (X, r"image must be the pixels \[h, w, c\] of one image"),
        "method": ("quickshift", "method must be one of slic, felzenszwalb, grid"),
        "segments": (0, "segments must be a whole number of at least 1"),
        "compactness": (0, "compactness must be"),
        "scale": (0, "scale must be"),
        "sigma": (-1, "sigma must be"),
        "min_size": (0, "min_size must be"),
    },
    saliency.xrai: {
        "net": NETWORK,
        "x": INPUT,
        "steps": (1001, "steps must be at most 1000"),
        "scales": (7, "scales must be at most 6"),
        "score": ("loss", r"score must be one of logit"),
        "target": TARGET,
        "progress": PROGRESS,
    },
    saliency.expected_gradients: {
        "net": NETWORK,
        "x": INPUT,
        "backgrounds": (X[:, :12], r"backgrounds must be images of x's size, \[m, 14, 18, 3\]"),
        "samples": (0, "samples must be a whole number of at least 1"),
        "noise": (-1, "noise must be"),
        "seed": SEED,
        "score": ("loss", r"score must be one of logit"),
        "target": TARGET,
        "progress": PROGRESS,
    },
    saliency.lrp: {
        "net": NETWORK,
        "x": INPUT,
        "rule": ("alpha-beta", "rule must be one of epsilon-gamma-box, epsilon, gamma, zero"),
        "epsilon": (-1, "epsilon must be"),
        "gamma": (-1, "gamma must be"),
        "target": TARGET,
        "progress": PROGRESS,
    },
    saliency.grad_cam: {
        "net": NETWORK,
        "x": (X[0], r"x must be \[n, h, w, 3\]"),
        "rule": ("no-cam", "rule must be one of grad-cam"),
        "fuse": ("sum", "fuse must be one of mean, max, product"),
        "score": ("gestalt", "score must be one of the logits"),
        "layer": ("conv99", "no layer 'conv99'; its layers are conv1"),
        "target": TARGET,
        "progress": PROGRESS,
    },
    saliency.attention_maps: {
        "net": (NET, "scenes_cnn has no attention among patches that can be seen"),
        "x": (X, "vit_small has position embeddings and takes images of 14x21 only, not 14x18"),
        "rule": ("raw", "rule must be one of rollout, gradient-rollout, chefer"),
        "target": TARGET,
        "progress": PROGRESS,
    },
    saliency.class_attention_maps: {
        "net": NETWORK,
        "x": (WIDE[0], r"x must be \[n, h, w, 3\]"),
        "layer": ("block0", "block0 is no attention of vit_small; those are block0_attention"),
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
        "size": (0, "size must be a whole number of at least 1"),
        "name": ("vgg61", "unknown network 'vgg61'; choose one of scenes_cnn"),
        "weights": (MISSING, r"file\.csv: no such file of weights"),
        "classes": (MISSING, r"file\.csv: no such file"),
    },
    saliency.save_network: {
        "net": ("vgg16", "net must be a Network, as load_network gives it"),
        "path": (3, "path must be a path, not 3"),
        "provenance": (None, "provenance must be a Mapping, where the weights are from"),
    },
    saliency.cam: {"net": NETWORK, "x": INPUT, "target": TARGET, "progress": PROGRESS},
    saliency.activation_maps: {
        "net": NETWORK,
        "x": INPUT,
        "layer": ("conv99", "no layer 'conv99'; its layers are conv1"),
        "progress": PROGRESS,
    },
    saliency.rise_maps: {
        "net": BLACK_BOX,
        "x": INPUT,
        "masks": (1, "masks must be a whole number of at least 2"),
        "cells": (0, "cells must be a whole number of at least 1"),
        "keep": (1, "keep must be a finite number above 0 and below 1"),
        "fill": FILL,
        "seed": SEED,
        "score": (3, "score must be one of logit"),
        "target": TARGET,
        "preprocess": ("vgg", "preprocess must be a Preprocessing"),
        "progress": PROGRESS,
    },
    saliency.finite_difference_maps: {
        "net": BLACK_BOX,
        "x": INPUT,
        "cell": (0, "cell must be a whole number of at least 1"),
        "step": (np.nan, "step must be a finite number above 0"),
        "score": (3, "score must be one of logit"),
        "target": TARGET,
        "execution": ("fast", "execution must be a Execution"),
        "progress": PROGRESS,
    },
    saliency.from_function: {
        "apply": (3, r"apply must be a function of \(params, images\)"),
        "params": ("w", "params must be arrays only"),
        **IN,
        "name": (3, "name must be a str, what the network is called"),
    },
    saliency.from_flax: {
        "model": (3, r"model must be a flax module \(nnx or linen\), not int"),
        "variables": (3, "variables belong to a linen module"),
        **IN,
    },
    saliency.logits: {"net": NETWORK, "x": INPUT, "batch": (0, "batch must be a whole number of at least 1")},
    saliency.probabilities: {"logits": ("high", r"logits must be numbers \[\.\.\., classes\], not 'high'")},
    saliency.status: {"maps": (MAPS[0], r"maps must be numbers \[n, h, w\]")},
    saliency.Options: {
        "score": ("gestalt", "score must be one of logit, log_probability, not 'gestalt'"),
        "layer": (3, "layer must be the name of a layer, or None"),
        "fill": (None, "fill must be grey, mean, blur, noise, a level"),
        "patch": ((1, 2, 3), r"patch must be a whole number of pixels or a pair \(height, width\)"),
        "stride": ("far", "stride must be a whole number of pixels"),
        "engine": ("fast", "engine must be one of auto, dense, incremental"),
        "samples": (0, "samples must be a whole number of at least 1"),
        "noise": (np.nan, "noise must be a finite number of at least 0"),
        "steps": (0, "steps must be a whole number of at least 1"),
        "segmentation": ("squares", "segmentation must be one of slic, felzenszwalb, grid"),
        "segments": (0, "segments must be a whole number of at least 1"),
        "masks": (1, "masks must be a whole number of at least 2"),
        "iterations": (0, "iterations must be a whole number of at least 1"),
        "scales": (7, "scales must be at most 6"),
        "expected": (0, "expected must be a whole number of at least 1"),
        "channels": (0, "channels must be a whole number of at least 1"),
        "cell": (0, "cell must be a whole number of at least 1"),
        "step": (0, "step must be a finite number above 0"),
        "seed": SEED,
        "preprocess": ("vgg", "preprocess must be a Preprocessing"),
    },
    saliency.Windows: {
        "image": ("large", "image must be a whole number of pixels"),
        "patch": (15, "patch must be 1 to 14 px high"),
        "stride": (0, "stride must be at least 1 px"),
        "shape": ("star", "shape must be one of rectangle, disc, gaussian"),
        "convention": ("torch", "convention must be one of captum, pair, xplique, grid"),
    },
    saliency.Execution: {
        "engine": ("fast", "engine must be one of auto, dense, incremental"),
        "budget": (0, "budget must be a whole number of at least 1"),
        "chunk": (0, "chunk must be a whole number of at least 1"),
        "images": (0, "images must be a whole number of at least 1"),
        "steady": ("yes", "steady must be a bool"),
    },
    saliency.Preprocessing: {
        "size": ((0, 3), "size must be a whole number of at least 1"),
        "mode": ("squeeze", "mode must be one of stretch, crop, letterbox"),
        "shorter": (7, "a crop of 14x18 needs a shorter side that holds it, not 7"),
        "order": ("grb", "order must be one of rgb, bgr"),
        "scale": (0, "scale must be a finite number above 0"),
        "mean": ((1.0, "2", 3.0), "mean must be a finite number"),
        "std": ((0.0, 1.0, 1.0), "std must be a finite number above 0"),
        "interpolation": ("nearest", "interpolation must be one of bilinear, bicubic"),
    },
    saliency.Score: {
        "kind": ("loss", "kind must be one of logit, .*log_probability, .*gestalt"),
        "layer": ("conv1", "layer must be the name of a layer, and of a gestalt score only"),
        "against": (3, "against must be a class index, and of a contrast only, not 3"),
        "function": (3, "function must be a function of logits, and of that kind of score, not 3"),
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
    localization.evaluate: {
        "data": ("voc", r"data must be a Dataset, as localization\.datasets\.load gives it"),
        "boxes": (MISSING, r"file\.csv: no such file"),
        "box_format": ("yolo", "box_format must be one of xyxy, xywh"),
        "maps": (3, "maps must be a path, not int"),
        "net": NETWORK,
        "linear": (MISSING, "`linear` needs `net`, whose maps it applies to"),
        "classes": (MISSING, r"file\.csv: no such file"),
        "train": (SCENES, "each of its 2 photos is among those that are scored"),
        "options": ("corloc", "options must be a EvaluationOptions"),
        "progress": PROGRESS,
    },
    localization.make_maps: {
        "net": NETWORK,
        "data": (X, "data must be a Dataset"),
        "folder": (Path(__file__), "is a file where a folder is needed"),
        "options": ("gradient-max", "options must be a MapOptions"),
        "classes": (MISSING, r"file\.csv: no such file"),
        "part": (1, r"part must lie in 0\.\.0, not 1"),
        "parts": (0, "parts must be a whole number of at least 1"),
        "progress": PROGRESS,
    },
    localization.fit: {
        "stores": ((), "no store of maps was named"),
        "options": ("lad", "options must be a FitOptions"),
        "part": (1, r"part must lie in 0\.\.0, not 1"),
        "parts": (0, "parts must be a whole number of at least 1"),
        "progress": PROGRESS,
    },
    localization.top1_loc: {
        "predicted": PREDICTED,
        "true": TRUE,
        "class_right": ([True], "class_right must say yes or no for each of the 4 samples"),
        "threshold": THRESHOLD,
        "seed": SEED,
    },
    localization.moving_digits: {
        "split": ("all", "split must be one of train, val, test"),
        "n": (-1, "n must be a whole number of at least 0"),
        "frames": (0, "frames must be a whole number of at least 1"),
        "digits": (0, "digits must be a whole number of at least 1"),
        "size": ((64, 8), "size must be a whole number of at least 16, not 8"),
        "seed": SEED,
    },
    localization.load_linear_map: {"path": (MISSING, r"file\.csv: no such file")},
    localization.fit_coverage: {
        "features": (MAPS[0], r"features must be numbers \[n, h, w\] \(a map\) or \[n, h, w, c\]"),
        "boxes": (BOX[:3], "3 boxes do not pair with the features of 4 photos"),
        "size": ((6, 0), "size must be a whole number of at least 1"),
        "photos": ([0, 1], "photos must be whole numbers of at least 0, one for each of the 4 rows"),
        "candidates": (["fine"], "candidates must be a Cells"),
        "lambdas": ((1.0, 0.0), "lambdas must be a finite number above 0"),
        "seed": SEED,
        "source": ("vgg16", "source must be a Mapping"),
    },
    COVERAGE.predict: {
        "features": (MAPS[:, :5], "fitted to features of 6x7 and cannot be applied to 5x7"),
        "source": ({"network": "b"}, "fitted to features of network 'a', these are of 'b'"),
    },
    localization.load_coverage_map: {"path": (MISSING, r"file\.csv: no such file")},
    localization.compare: {
        "net": ("vgg16", "net must be a Network"),
        "data": (X, "data must be a Dataset"),
        "train": (X, "train must be a Dataset"),
        "methods": (["edge"], "unknown method 'edge'; near it are edges"),
        "maps": ({"mine": 3}, r"maps\['mine'\] must be a path, not 3"),
        "boxes": ("mine.csv", "boxes must map names to paths, not str"),
        "box_format": ("corners", "box_format must be one of xyxy"),
        "bundles": ("edges.safetensors", "bundles must be a list of paths"),
        "classes": (3, "classes must be a file of class names"),
        "options": ({}, "options must be a CompareOptions"),
        "folder": (3, "folder must be a path, not 3"),
        "progress": PROGRESS,
        "command": (3, "command must be a str, what ran this"),
    },
    localization.compare_networks: {
        "nets": ({"a": NET}, "nets must map names to two networks at least"),
        "data": (X, "data must be a Dataset"),
        "train": (X, "train must be a Dataset"),
        "methods": (["edge"], "unknown method 'edge'; near it are edges"),
        "classes": (3, "classes must be a file of class names"),
        "options": ({}, "options must be a CompareOptions"),
        "folder": (3, "folder must be a path, not 3"),
        "progress": PROGRESS,
        "command": (3, "command must be a str, what ran this"),
    },
    localization.CompareOptions: {
        "measures": (("luck",), "measures must be one of all, insertion"),
        "budget": (0, "budget must be a finite number above 0"),
        "thin": ("much", "thin must be a bool, whether methods are thinned"),
        "repeats": (0, "repeats must be a whole number of at least 1"),
        "target": ("dog", "target must be one of predicted, label"),
        "each": ("photo", "each must be one of class, object"),
        "folds": (1, "folds must be a whole number of at least 2, not 1"),
        "n_test": (0, "n_test must be a whole number of at least 1"),
        "fit": ("svm", "fit must be one of coverage, lad, flip-equivariant"),
        "routes": (("linear",), "routes must be one of linear map, Eq. 4, heuristic, not 'linear'"),
        "layers": ("fire9", "layers must be a tuple"),
        "stack": (["edges"], "stack must be a tuple"),
        "occlusion_strides": ((0,), "occlusion_strides must be a whole number of at least 1"),
        "quality": (-1, "quality must be a whole number of at least 0"),
        "settings": ({}, "settings must be a Options"),
        "keep_maps": (3, "keep_maps must be a bool"),
        "keep_bundles": (3, "keep_bundles must be a bool"),
        "strict": (3, "strict must be a bool"),
    },
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
        "box_format": ("yolo", "box_format must be one of xyxy, xywh"),
    },
    datasets.scenes: {
        "split": ("all", "split must be one of train, val, test"),
        "n": (-1, "n must be a whole number of at least 0"),
        "seed": SEED,
    },
}

FILE = (Path(__file__), "folder must be a folder, which need not exist, not .*, where a file is in the way")
OPTIONS = ({"seed": 1}, "options must be a Options")
BAD |= {
    robustness.Options: {
        "families": (("clouds",), "unknown family 'clouds'; choose one of bernoulli, life"),
        "coverages": ((0.5, 1.5), r"coverages must lie in 0\.\.1 without 0, not 1.5"),
        "fills": ("grey", "fills must name at least one, in a tuple, not 'grey'"),
        "motion": ("fast", "motion must be one of animated, still"),
        "seed": SEED,
        "draws": (1, "draws must be a whole number of at least 2"),
    },
    robustness.evaluate: {
        "nets": ({}, "nets must be a Network, or at least one by name"),
        "images": (VIDEOS[:1], r"images must be at least two photos uint8 \[h, w, 3\], or videos"),
        "labels": ([0, 10], r"labels must lie in 0\.\.9, not 0\.\.10"),
        "groups": ([1], r"groups must name one for each of the 2 images, not \[1\]"),
        "boxes": (BOX[:2] * np.nan, "boxes must be x0 y0 x1 y1 with x0 < x1 and y0 < y1 for each of the 2 images"),
        "options": OPTIONS,
        "data": (3, "data must be text, not 3"),
        "notes": ("one", "notes must be a list of texts, not 'one'"),
        "folder": FILE,
        "progress": PROGRESS,
    },
    robustness.train_each: {
        "net": NETWORK,
        "images": (MANY[:63], r"images must be at least 64, as uint8 \[n, h, w, 3\], not uint8 \[63"),
        "labels": (np.full(64, 10), r"labels must be a class index 0\.\.9 for each of the 64 images"),
        "augmentations": (["blur"], "unknown augmentation 'blur'; choose of plain, cutout"),
        "epochs": (0, "epochs must be a whole number of at least 1"),
        "rate": (0.0, "rate must be a finite number above 0"),
        "fill": (np.nan, "fill must be one finite number or three, in normalised units"),
        "seed": SEED,
        "folder": FILE,
        "progress": PROGRESS,
    },
    zeiler_fergus.Options: {
        "sizes": ((0,), "sizes must be a whole number of at least 1"),
        "stride": (0, "stride must be a whole number of at least 1"),
        "fills": ((), "fills must name at least one fill"),
        "engine": ("fast", "engine must be one of auto, dense, incremental"),
        "layers": ("conv1", "layers must be a tuple of layers' names, not 'conv1'"),
        "draws": (1, "draws must be at least 2, not 1"),
        "windows": (-1, "windows must be a whole number of at least 0"),
        "seed": SEED,
    },
    saliency.overlay: {
        "photo": (X[0], r"a photo must be uint8 \[h, w, 3\]"),
        "saliency_map": (MAPS, r"saliency_map must be numbers \[h, w\]"),
        "preprocess": ("crop", "preprocess must be a Preprocessing"),
        "limit": (0, "limit must be a finite number above 0"),
        "opacity": (1.5, r"opacity must lie in 0\.\.1"),
        "colours": ("pinkish", "colours must be one of matplotlib's colour maps"),
        "boxes": ([(1, 2, 3)], "boxes must be x0 y0 x1 y1"),
    },
    saliency.use_cache: {
        "folder": (3, "folder must be a path"),
        "most": (0, "most must be a whole number of at least 1"),
    },
    saliency.explain: {
        "net": (3, "net must be a Network"),
        "photos": (["missing.jpg"], "missing.jpg: no such file"),
        "methods": (["magic"], "unknown method 'magic'; choose from gradient-max"),
        "target": (99, "target must"),
        "names": (["a", "b"], "names must be one for each of the 1 photos, not 2"),
        "boxes": (3, "boxes must be a function"),
        "options": (3, "options must be"),
        "progress": PROGRESS,
    },
    saliency.show: {
        "photos": ([], "photos must hold at least one photo"),
        "maps": (MAPS, r"maps must be \[n, h, w\], a map for each of the 1 photos, not float64 \[4, 6, 7\]"),
        "titles": (["a", "b"], "titles must be one for each of the 1 photos, not 2"),
        "boxes": (BOX, r"boxes must be one, or an array \[k, 4\], for each of the 1 photos"),
        "preprocess": ("crop", "preprocess must be a Preprocessing"),
        "scale": ("photo", "scale must be one of map, row, column, all"),
        "opacity": (0, "opacity must be a finite number above 0"),
        "colours": ("pinkish", "colours must be one of matplotlib's colour maps"),
        "columns": (0, "columns must be a whole number of at least 1"),
        "title": (3, "title must be text, not 3"),
    },
    saliency.map_to_photo: {
        "map": (MAPS, r"map must be numbers \[h, w\], not \[4, 6, 7\]"),
        "placement": ((40, 60), "placement must be a Placement, as net.preprocess.placement"),
        "outside": ("no", "outside must be a finite number, not 'no'"),
    },
    zeiler_fergus.analyze_occlusion: {
        "net": NETWORK,
        "photos": ("a.png", "photos must be a list of photos"),
        "target": ("rank:11", "target rank must be rank:1 to rank:10"),
        "names": (["a", "b"], "names must name one for each of the 1 photos, not 2"),
        "labels": ([7], "labels must be class names, or None where one is not known, not 7"),
        "boxes": ([(1, 2, 3)], "boxes must be x0 y0 x1 y1, or None"),
        "regions": ({"eye": (1, 2, 3)}, "region 'eye' must be four numbers x0,y0,x1,y1"),
        "options": OPTIONS,
        "notes": ("one", "notes must be a list of texts, not 'one'"),
        "folder": FILE,
        "progress": PROGRESS,
    },
}

OF_SEGMENTS = {
    "net": BLACK_BOX,
    "x": INPUT,
    "segmentation": (np.zeros((18, 14), int), r"segmentation must be \[14, 18\] or \[2, 14, 18\], the images' size"),
    "segments": (0, "segments must be a whole number of at least 1"),
    "fill": FILL,
    "seed": SEED,
    "score": (3, "score must be one of logit"),
    "target": TARGET,
    "preprocess": ("vgg", "preprocess must be a Preprocessing"),
    "progress": PROGRESS,
}
ENGINE = {"execution": ("dense", "execution must be a Execution, how occlusion is computed")}
MASKS = {"masks": (1, "masks must be a whole number of at least 2")}
BAD |= {
    saliency.segment_occlusion: OF_SEGMENTS | ENGINE,
    saliency.segment_interactions: OF_SEGMENTS | ENGINE,
    saliency.channel_occlusion: {
        **{name: bad for name, bad in OF_SEGMENTS.items() if name not in ("segmentation", "segments")},
        **ENGINE,
        "windows": (3, "windows must be a Windows, of the images' size"),
    },
    saliency.lime_maps: {
        **OF_SEGMENTS,
        **MASKS,
        "distance": ("far", "distance must be one of cosine, euclidean"),
        "width": (0, "width must be a finite number above 0"),
        "regression": ("forest", "regression must be one of ridge, lasso, least squares"),
        "alpha": (-1, "alpha must be a finite number of at least 0"),
    },
    saliency.superpixels: {
        "image": (X[0] - 1, "image must be pixels 0..255"),
        "method": ("watershed", "method must be one of slic, felzenszwalb, grid"),
        "segments": (0, "segments must be a whole number of at least 1"),
        "compactness": (0, "compactness must be a finite number above 0"),
        "scale": (0, "scale must be a finite number above 0"),
        "sigma": (-1, "sigma must be a finite number of at least 0"),
        "min_size": (0, "min_size must be a whole number of at least 1"),
    },
    saliency.repeats: {
        "method": ("rise", "method must be a Method, as saliency.METHODS has it"),
        "net": BLACK_BOX,
        "x": INPUT,
        "count": (1, "count must be a whole number of at least 2"),
        "target": TARGET,
        "options": ("few", "options must be a Options, what the methods share"),
        "progress": PROGRESS,
    },
    saliency.kernel_shap_maps: OF_SEGMENTS | MASKS,
    saliency.shapley_maps: {**OF_SEGMENTS, "samples": (0, "samples must be a whole number of at least 1")},
    saliency.sobol_maps: OF_SEGMENTS | MASKS,
    saliency.hsic_maps: OF_SEGMENTS | MASKS,
    saliency.extremal_maps: {
        "net": NETWORK,
        "x": INPUT,
        "areas": ([0.1, 1], "areas must be a finite number above 0 and below 1"),
        "iterations": (0, "iterations must be a whole number of at least 1"),
        **{name: OF_SEGMENTS[name] for name in ("fill", "seed", "score", "target", "progress")},
    },
}

# Taken for their truth, so that no value is bad.
ANY = {
    saliency.overlay: {"signed", "as_image"},
    saliency.show: {"signed"},
    datasets.load: {"decode", "strict"},
    localization.evaluate: {"strict"},
    localization.make_maps: {"strict"},
    localization.top1_loc: {"strict"},
    saliency.grad_cam: {"resize"},
    saliency.attention_maps: {"resize"},
    saliency.class_attention_maps: {"resize"},
    localization.corloc: {"strict"},
    localization.corloc_by_class: {"strict"},
}
# What functions give, and the error itself: nobody is meant to call these with arguments of his own.
RESULTS = {
    saliency.InputError,
    saliency.OcclusionMaps,
    saliency.Repeats,
    saliency.Network,
    saliency.Method,
    saliency.Cost,
    saliency.Explanation,
    localization.Comparison,
    localization.NetworkComparison,
    localization.Dataset,
    localization.Evaluation,
    localization.Fit,
    localization.MadeMaps,
    *(localization.EvaluationOptions, localization.MapOptions, localization.FitOptions),  # see below
    localization.Estimate,
    *(localization.LinearMap, localization.CoverageMap),
}


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
    exported = [getattr(module, name) for module in (saliency, localization) for name in module.__all__]
    public = {one for one in exported if callable(one)} - RESULTS - EXTRAS
    assert public <= BAD.keys()
    for function, table in BAD.items():
        parameters = set(inspect.signature(function).parameters)
        assert parameters == table.keys() | ANY.get(function, set()), function


def test_an_input_error_is_a_value_error():
    assert issubclass(saliency.InputError, ValueError)


CONFIGURED = {
    localization.evaluate: localization.EvaluationOptions,
    localization.make_maps: localization.MapOptions,
    localization.fit: localization.FitOptions,
}
BAD_OPTIONS = {
    localization.EvaluationOptions: {
        "protocol": ("voc", "protocol must be one of corloc, paper-voc07"),
        "difficult": ("no", "difficult must be a bool"),
        "truncated": ("no", "truncated must be a bool"),
        "folds": (1, "folds must be 0 or at least 2, not 1"),
        "method": ("magic", "unknown method 'magic'; choose from gradient-max"),
        "route": ("scenic", "route must be one of linear map, Eq. 4, heuristic"),
        "target": ("best", "target must be one of predicted, label"),
        "layers": ("fire9", "layers must be a tuple"),
        "several": (-1, "several must be a whole number of at least 0"),
        "map_size": ((8, 0), "map_size must be a whole number of at least 1, not 0"),
        "settings": ("few", "settings must be a Options"),
    },
    localization.MapOptions: {
        "method": ("magic", "unknown method 'magic'; choose from gradient-max"),
        "target": ("best", "target must be one of predicted, label"),
        "settings": ("few", "settings must be a Options"),
        "size": ((4, 0), "size must be a whole number of at least 1, not 0"),
        "precision": ("float8", "precision must be one of float16, float32"),
        "shard_size": (0, "shard_size must be a whole number of at least 1"),
    },
    localization.FitOptions: {
        "method": ("magic", "method must be one of coverage, ridge, lad, iou, sgd"),
        "features": ("raw", "features must be a Features"),
        "coding": ("polar", "coding must be one of corners, centre"),
        "lambdas": ((1.0, 0.0), "lambdas must be a finite number above 0"),
        "choose": ("luck", "choose must be one of iou, corloc"),
        "shares": ((0.5, 0.5, 0.5), "shares must be three numbers above 0 that sum to at most 1"),
        "steps": (0, "steps must be a whole number of at least 1"),
        "few_shot": ((2,), "few_shot must be a whole number of at least 3"),
        "repeats": (0, "repeats must be a whole number of at least 1"),
        "budget": (-1, "budget must be a whole number of at least 0"),
        "cache": (-1, "cache must be a whole number of at least 0"),
        "seed": SEED,
    },
}


@pytest.mark.parametrize(
    ("function", "options", "name", "value", "says"),
    [(f, one, name, *bad) for f, one in CONFIGURED.items() for name, bad in BAD_OPTIONS[one].items()],
    ids=lambda value: getattr(value, "__name__", value if isinstance(value, str) else ""),
)
def test_a_bad_option_is_named_and_nothing_written(function, options, name, value, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(saliency.InputError, match=says):
        function(**{**GOOD[function], "options": options(**{name: value})})
    assert not list(tmp_path.iterdir())


def test_the_table_covers_every_option():
    for options, table in BAD_OPTIONS.items():
        assert {field.name for field in dataclasses.fields(options)} == table.keys()
