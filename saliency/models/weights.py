"""Networks with their weights: from files, from the Hugging Face hub, and into our own format.

Our own format is a safetensors file with tensors named `layer.kernel` and `layer.bias`, NHWC layouts, and
the architecture's name, the preprocessing and the class names as JSON in its header. Published files are
told from it by their tensors' names (`saliency.models.checkpoints`). Of a PyTorch file nothing is run
(`saliency.models.torch_files`).
"""

import hashlib
import importlib
import json
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from saliency._checks import described, kind_of, pair
from saliency._files import atomic_write, write_tensors
from saliency._reading import MAX_BYTES, as_input_error, map_tensors, read_json
from saliency.errors import InputError
from saliency.models import packages, torch_files
from saliency.models.checkpoints import Scheme, imported, own, resampled, shapes
from saliency.models.classes import read_classes
from saliency.models.graph import Architecture
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing, from_record
from saliency.models.zoo.catalogue import ARCHITECTURES, SCHEMES, ZOO

_PACKAGE = Path(__file__).resolve().parents[1]
_EMBEDDED = (_PACKAGE / "data", _PACKAGE.parent / "data")  # in a wheel; in a checkout
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_KERAS_PARAMETER = re.compile(r"(?:^|_)(kernel|bias|gamma|beta|moving_mean|moving_variance|W|b)(?:_\d+)?(?::0)?$")


def load_network(
    name: str,
    weights: str | Path | None = None,
    *,
    classes: str | Path | Sequence[str] | None = None,
    size: int | tuple[int, int] | None = None,
) -> Network:
    """A classifier by name, with its weights, preprocessing and class names.

    Args:
        name: one of `saliency.models.weights.ARCHITECTURES`; "scenes_cnn" comes with weights, those of
            "efficientnet_lite0" and its classes' names with the extra `photos`; the others need them.
        weights: a safetensors file in our own, torchvision's or timm's names, a `.pth` or `.pt` of torch.save (read
            without torch), a Keras `.h5`, or the id of a Hugging Face repository such as "timm/vgg16.tv_in1k".
        classes: the classes' names: a file of them, or a list (see `saliency.models.classes.read_classes`).
        size: (height, width) of images, or one number for a square (default: the size trained at). A transformer's
            position embeddings are brought to it; a fully connected layer cannot be.

    A file `model.onnx` is a network too; how photos enter it is read from `model.preprocess.json` beside it. So is
    "package.module:function", a function that gives a Network (`saliency.from_flax(...)` and the like), called with
    `weights` where they are stated.

    Raises InputError for an unknown name, and for a file that is missing, unreadable or does not fit.

    >>> import saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> net
    Network('scenes_cnn', 19 layers, 165,914 weights, trained at 96x96 px)
    >>> net.classes[:3], net.preprocess.size
    (('0', '1', '2'), (96, 96))
    """
    if not isinstance(name, str):
        raise InputError(f"unknown network {described(name)}; choose one of {', '.join(ARCHITECTURES)}")
    if size is not None and (name.endswith(".onnx") or ":" in name):
        raise InputError(f"{name} has the one size that it was made for: leave size out")
    if name.endswith(".onnx"):
        return _onnx(Path(name), weights, classes)
    if ":" in name:
        return _function(name, weights, classes)
    if name not in ARCHITECTURES:
        raise InputError(f"unknown network {name!r}; choose one of {', '.join(ARCHITECTURES)}")
    path, preprocess = _located(name, weights)
    if classes is None and weights is None and name in packages.WEIGHTS:
        classes = packages.imagenet_names()
    tensors, header = _read(path)
    scheme = _scheme(name, tensors, header, path)
    architecture = _fitted(scheme, tensors, preprocess)
    stated = preprocess or _entry(scheme, architecture, path)
    parameters: Mapping[str, Mapping[str, Any]] = imported(architecture, scheme, tensors, str(path))
    if size is not None:
        size = pair("size", size)
        larger = _fitted(scheme, tensors, replace(stated, size=size, shorter=None))
        parameters = resampled(parameters, architecture, larger)
        stated = stated.sized(size)
        architecture = larger
    return Network(
        architecture,
        parameters,
        stated,
        classes=_names(path if classes is None else classes, header if classes is None else None, architecture),
        provenance={"file": str(weights) if preprocess else path.name, "names": scheme.title},
    )


def _onnx(path: Path, weights: str | Path | None, classes: str | Path | Sequence[str] | None) -> Network:
    from saliency.models.from_onnx import from_onnx

    if weights is not None:
        raise InputError(f"{path} holds its weights: leave weights out")
    if not path.is_file():
        raise InputError(f"{path}: no such ONNX file")
    beside = path.with_suffix(".preprocess.json")
    if not beside.is_file():
        raise InputError(
            f"{path}: an ONNX file does not say how photos enter it; say so in {beside.name} beside it, such as"
            ' {"size": [224, 224], "shorter": 256, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'
        )
    try:
        preprocess = from_record(read_json(beside))
    except InputError as error:
        raise InputError(f"{beside}: {str(error).removeprefix(f'{beside}: ')}") from error
    return _with_names(from_onnx(path, size=preprocess.size, preprocess=preprocess), classes)


def _function(name: str, weights: str | Path | None, classes: str | Path | Sequence[str] | None) -> Network:
    """What the user's own function gives; its module is found as Python finds any, the working folder first."""
    module, _, attribute = name.partition(":")
    try:
        if "" not in sys.path:
            sys.path.insert(0, "")
        made = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise InputError(f"{name}: no such function ({error}); networks are {', '.join(ARCHITECTURES)}") from error
    except Exception as error:  # whatever the module does when it is imported
        raise InputError(f"{name}: its module cannot be imported ({_raised(error)})") from error
    try:
        net = (made() if weights is None else made(weights)) if callable(made) else made
    except InputError:
        raise
    except Exception as error:  # whatever the function does
        raise InputError(f"{name}: the function failed ({_raised(error)})") from error
    if not isinstance(net, Network):
        raise InputError(f"{name} must give a Network, as saliency.from_flax does, not {type(net).__name__}")
    return _with_names(net, classes)


def _raised(error: BaseException) -> str:
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _with_names(net: Network, classes: str | Path | Sequence[str] | None) -> Network:
    if classes is not None:
        net.classes = tuple(_names(classes, None, net.architecture))
    return net


def save_network(net: Network, path: Path | str, provenance: Mapping[str, object]) -> None:
    """Write a network in our own format, and its provenance beside it as JSON; neither is ever left half-written.

    >>> import tempfile, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saliency.save_network(net, f"{folder}/mine.safetensors", {"trained": "yesterday"})
    ...     saliency.load_network("scenes_cnn", f"{folder}/mine.safetensors").digest == net.digest
    True
    """
    kind_of("net", net, Network, "as load_network gives it")
    if not isinstance(path, str | Path):
        raise InputError(f"path must be a path, not {described(path)}")
    kind_of("provenance", provenance, Mapping, "where the weights are from")
    if net.architecture.nodes[0].layer.one_size:
        raise InputError(f"{net.name} is a function that was traced, which a file of weights cannot hold")
    path = Path(path)
    tensors = {
        f"{layer}.{name}": np.ascontiguousarray(value)
        for layer, parameters in net.weights.items()
        for name, value in parameters.items()
    }
    header = {
        "architecture": net.name,
        "preprocessing": json.dumps(net.preprocess.record()),
        "classes": json.dumps(net.classes),
    }
    write_tensors(path, tensors, header)
    with atomic_write(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(provenance, indent=2) + "\n")


def random_network(architecture: Architecture, seed: int = 0, dtype: type = np.float32) -> Network:
    """An architecture with random weights under which activations neither vanish nor explode, for tests and timing."""
    rng = np.random.default_rng(seed)

    def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
        spread = np.sqrt(2 / np.prod(shape[:-1])) if name == "kernel" else 0.01
        return (rng.standard_normal(shape, np.float32) * spread).astype(dtype)

    weights = {
        layer: {name: drawn(name, shape) for name, shape in shapes.items()}
        for layer, shapes in architecture.parameter_shapes().items()
    }
    return Network(architecture, weights, Preprocessing(architecture.size, mode="stretch"))


def _names(file: str | Path | Sequence[str], header: Mapping[str, str] | None, architecture: Architecture) -> list[str]:
    """The classes that a checkpoint's header names, or a file of class names."""
    if architecture.headless:
        if header is None:
            raise InputError(f"{architecture.name} holds features alone, without a classifier: leave classes out")
        return []
    count = architecture.class_count
    if header is None:
        names = list(read_classes(file).names)
    else:
        with as_input_error(str(file), "its header names no classes that can be read"):
            names = [str(name) for name in json.loads(header.get("classes", "[]"))]
    if names and len(names) != count:
        source = file if isinstance(file, str | Path) else "classes"
        raise InputError(f"{source} names {len(names)} classes, but {architecture.name} has {count}")
    return names


def _located(name: str, weights: str | Path | None) -> tuple[Path, Preprocessing | None]:
    """The checkpoint's path, and its preprocessing where a hub repository states one."""
    if weights is None and name == "scenes_cnn":
        paths = [folder / "scenes_cnn.safetensors" for folder in _EMBEDDED]
        path = next((path for path in paths if path.exists()), None)
        if path is None:
            raise InputError(f"{paths[-1]}: no such file; the weights of scenes_cnn come with salbox: install it again")
        return path, None
    if weights is None and (found := packages.packaged_weights(name)):
        return found, None
    if weights is None and name in packages.WEIGHTS:
        raise InputError(f"{name} comes without weights: {packages.REMEDY}; or pass a file of weights")
    if weights is None:
        example = f" such as {hub}" if (hub := ZOO[name].hub) else ""
        raise InputError(
            f"{name} comes without weights: pass a safetensors, .pth or Keras .h5 file, or a Hugging Face id{example}"
        )
    if not isinstance(weights, str | Path):
        raise InputError(f"weights must be a file of weights or a Hugging Face id, not {described(weights)}")
    path = Path(weights).expanduser()
    if (
        not path.exists()
        and path.suffix not in (".safetensors", ".h5", ".hdf5", *torch_files.SUFFIXES)
        and _HUB_ID.fullmatch(str(weights))
    ):
        return _fetched(str(weights))
    if path.suffix == ".keras":
        raise InputError(f"{path}: a Keras 3 archive; save its weights for here with model.save('{path.stem}.h5')")
    if path.is_dir():
        raise InputError(f"{path}: no such file of weights but a folder: name the file in it")
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights")
    return path, None


def _fetched(repository: str) -> tuple[Path, Preprocessing]:
    """A hub repository's safetensors file, downloaded once, and the preprocessing its config states: for `input_size`,
    as timm's `resolve_data_config` has it. A `test_input_size` beside it, the larger one of some published figures, is
    had by `size=`."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise InputError(
            f"{repository}: no such file, and fetching from the Hugging Face hub needs pip install 'salbox[hub]'"
        ) from error
    try:
        path, config = (Path(hf_hub_download(repository, file)) for file in ("model.safetensors", "config.json"))
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{repository}: no such file, and it could not be fetched from the Hugging Face hub ({reason});"
            " go online, or download its model.safetensors and pass the path"
        ) from error
    try:
        return path, _timms(read_json(config)["pretrained_cfg"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{repository}: its config.json does not state timm's preprocessing ({error})") from error


def _timms(stated: Mapping[str, Any]) -> Preprocessing:
    """How photos enter by timm's `pretrained_cfg`. KeyError, TypeError or ValueError where it does not say."""
    height, width = size = tuple(stated["input_size"][1:])
    mode = stated.get("crop_mode") or "center"
    if mode not in ("center", "squash"):
        raise ValueError(f"crop_mode {mode!r} is not known here")
    if mode == "squash":  # the whole photo, and then the middle of it
        if stated["crop_pct"] != 1:
            raise ValueError("crop_mode 'squash' is known here at crop_pct 1 alone")
        placed: dict[str, Any] = {"mode": "stretch"}
    else:
        placed = {"shorter": int(min(height, width) / stated["crop_pct"])}
    return Preprocessing(
        size, mean=tuple(stated["mean"]), std=tuple(stated["std"]), interpolation=stated["interpolation"], **placed
    )


def _read_keras(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors of a Keras 1 or 2 file as `layer.parameter`; only the names within a layer changed over the years."""
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{path}: Keras files are read with h5py; pip install 'salbox[keras]'") from error
    tensors: dict[str, np.ndarray] = {}

    def visit(place: str, item: Any) -> None:
        found = _KERAS_PARAMETER.search(place.rpartition("/")[2])
        if not isinstance(item, h5py.Dataset) or not found:
            return
        if item.external or item.is_virtual or item.nbytes + sum(t.nbytes for t in tensors.values()) > MAX_BYTES:
            raise InputError(f"{path}: {place} lies in another file, or is larger than any network here")
        parameter = {"W": "kernel", "b": "bias"}.get(found[1], found[1])
        tensors[f"{place.partition('/')[0]}.{parameter}"] = np.asarray(item)

    with as_input_error(path, "not a readable Keras .h5 file"), h5py.File(path, "r") as file:
        file.get("model_weights", file).visititems(visit)
    return tensors, {}


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """A checkpoint's tensors, and its header's text where the format has one."""
    if path.suffix in torch_files.SUFFIXES:
        return _unwrapped(torch_files.read_torch(path)), {}
    tensors, header = _read_keras(path) if path.suffix in (".h5", ".hdf5") else map_tensors(path)
    return _unwrapped(tensors), header


def _unwrapped(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors without what torch.compile, DataParallel and Lightning put before the names of all of them."""
    named = {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items()}
    for wrapper in ("module.", "model."):
        if named and all(name.startswith(wrapper) for name in named):
            named = {name.removeprefix(wrapper): tensor for name, tensor in named.items()}
    return named


def _scheme(name: str, tensors: Mapping[str, np.ndarray], header: Mapping[str, str], path: Path) -> Scheme:
    """Whose names these are: our own by the header, else the published scheme of which the most tensors are there."""
    if "architecture" in header:
        if header["architecture"] != name:
            raise InputError(f"{path} holds {header['architecture']}, not {name}")
        try:
            return own(name, from_record(json.loads(header["preprocessing"])))
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: its header states no preprocessing that can be read ({error})") from error
    if name not in SCHEMES:
        raise InputError(f"{path} is not in salbox's own format, the only one of {name}")

    def there(scheme: Scheme) -> float:
        wanted = shapes(ARCHITECTURES[scheme.network](), scheme)
        return len(wanted.keys() & tensors.keys()) / len(wanted)

    scheme = max(SCHEMES[name], key=there)
    if scheme.told_by not in str(path):
        raise InputError(
            f"{path}: {name} and {scheme.otherwise} have tensors of the same names in {scheme.title}: load it as"
            f" {scheme.otherwise}, or, if it is {scheme.told_by}'s, keep {scheme.told_by} in the file's name"
        )
    return scheme


def _entry(scheme: Scheme, architecture: Architecture, path: Path) -> Preprocessing:
    """How photos enter a published checkpoint; of two that its tensors cannot tell apart, the one that the file's name
    or digest says, else the first, with a warning."""
    renewed = scheme.renewed
    if renewed is None or architecture.headless or architecture.class_count != 1000:
        return scheme.preprocess  # or somebody's own training
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    said = f"{path.name.lower()} {digest}"
    if any(name in said for name in renewed.names):
        return renewed.preprocess
    if not any(name in said for name in renewed.first):
        warnings.warn(
            f"{path}: {scheme.title} has two sets of weights of {scheme.network} in this form; taken is"
            f" {renewed.first[0]}, whose photos are scaled to {scheme.preprocess.shorter} px and cropped, those of"
            f" {renewed.names[0]} to {renewed.preprocess.shorter}; say in the file's name which it is",
            UserWarning,
            stacklevel=3,
        )
    return scheme.preprocess


def _fitted(scheme: Scheme, tensors: Mapping[str, np.ndarray], preprocess: Preprocessing | None) -> Architecture:
    """The scheme's architecture, with as many classes as the checkpoint has, for images of the size stated with it;
    without its head where the checkpoint has none."""
    build = partial(ARCHITECTURES[scheme.network], **({"size": preprocess.size} if preprocess else {}))
    architecture = build()
    sources = scheme.sources(architecture)
    *_, last = sources.values()
    bias = tensors.get(last.tensor(scheme.layout.bias), np.empty(0))
    if bias.ndim == 1 and len(bias):
        return build(classes=len(bias))
    # a classifier is what is computed once the places are gone; SqueezeNet's is its last convolution
    shapes = architecture.shapes(*architecture.size)
    head = [name for name in sources if len(shapes[name]) == 1] or [list(sources)[-1]]
    names = {sources[name].tensor(part) for name in head for part in (scheme.layout.kernel, scheme.layout.bias)}
    others = {source.tensor(scheme.layout.kernel) for name, source in sources.items() if name not in head}
    return architecture.features(head) if not names & tensors.keys() and others & tensors.keys() else architecture
