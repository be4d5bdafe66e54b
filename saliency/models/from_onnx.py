"""ONNX files as networks. Needs the extra `onnx`, which brings onnxruntime: what the network is compared with.

A file is data from elsewhere: only the operators of `onnx_operators` are computed, weights that lie in other files must
lie in the file's own folder, and nothing may unfold into more than MAX_BYTES.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency._checks import described, pair
from saliency._memory import aligned
from saliency._reading import MAX_BYTES, as_input_error
from saliency.errors import InputError
from saliency.models.from_jax import check_options, network_of
from saliency.models.network import Network
from saliency.models.onnx_operators import MOST_KNOWN, OPERATORS
from saliency.models.preprocessing import Preprocessing

KNOWN = 16  # numbers up to which a constant is known beforehand rather than a weight
MAX_NODES = 50_000
DOMAINS = ("", "ai.onnx")


def from_onnx(
    path: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    preprocess: Preprocessing | None = None,
    classes: Sequence[str] = (),
) -> Network:
    """A network of an ONNX classifier of images `[n, c, h, w]`, or `[n, h, w, c]` where only the last axis is as few as
    4; layers bear the nodes' names.

    `size` (height, width) is needed where the file leaves it open. `preprocess` says how photos become images (default:
    pixels 0..255 as they are): ONNX files do not state it. Raises InputError for a file that is damaged, hostile or too
    large, an operator that is not known (named, with its node), and where onnxruntime computes something else, naming
    the first node that differs.

    >>> import saliency
    >>> saliency.from_onnx("model.onnx", size=224)  # doctest: +SKIP
    """
    check_options((1, 1) if size is None else size, 3, preprocess, classes)
    if not isinstance(path, str | Path):
        raise InputError(f"path must be that of an ONNX file, not {described(path)}")
    path = Path(path)
    model = _read(path)
    return network_of_model(model, str(path), size=size, preprocess=preprocess, classes=classes, name=path.stem)


def network_of_model(model: "Model", source: str, oracle: Any = None, **options: Any) -> Network:
    """A network of a model that was read; `source` is what messages call it."""
    channels_last = model.image[1] not in (1, 2, 3, 4) and model.image[3] in (1, 2, 3, 4)
    channels, height, width = (model.image[i] for i in ((3, 1, 2) if channels_last else (1, 2, 3)))
    size = options.pop("size")
    if size is None:
        if height is None or width is None:
            raise InputError(f"{source} takes images of any size: state size")
        size = height, width
    if channels is None:
        raise InputError(f"{source} states no number of channels")
    height, width = size = pair("size", size)
    if 8 * height * width * channels > MAX_BYTES:
        raise InputError(f"{source} takes images of {height}x{width}x{channels}, which is too large")

    def given(x: Any) -> Any:
        return x if channels_last else x.transpose(0, 3, 1, 2)

    def flat(logits: Any) -> Any:
        """Logits `[n, k, 1, 1]` of a network that ends in a pool."""
        ones = logits.ndim > 2 and set(logits.shape[2:]) == {1}
        return logits.reshape(logits.shape[:2]) if ones else logits

    def apply(weights: Mapping[str, Array], x: Array) -> Array:
        return flat(model.run(weights, given(x))[model.output])

    weights = {name: jax.device_put(value) for name, value in model.weights.items()}  # as they lie: nobody writes there
    return network_of(
        apply, weights, oracle or (lambda x: flat(model.runtime(given(x), [model.output])[0])), size=size,
        channels=channels, source=source, explain=lambda x: model.first_difference(given(x)), **options,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Node:
    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Model:
    """A graph as it was read: `weights` may be changed, `known` are small constants and integers. `image` is the
    input's shape, None for what is left open. `proto` is the file's own message without its weights' numbers, which
    `moved` holds in the order of its initializers, None for what has stayed there."""

    source: str
    proto: Any
    moved: list[np.ndarray | None]
    nodes: tuple[Node, ...]
    weights: dict[str, np.ndarray]
    known: dict[str, np.ndarray]
    input: str
    image: tuple[int | None, ...]
    output: str

    def run(self, weights: Mapping[str, Array], x: Array) -> dict[str, Any]:
        """Every tensor of the graph."""
        done: dict[str, Any] = {**self.known, **weights, self.input: x}
        varying, held = {self.input}, 0.0  # what depends on the image; bytes of what does not
        for node in self.nodes:
            inputs = [_small(done[name]) if name else None for name in node.inputs]
            with jax.named_scope(node.name):
                try:
                    result = OPERATORS[node.operator](node.attributes, *inputs)
                except Exception as error:  # whatever a damaged node leads to
                    reason = str(error).strip().partition("\n")[0] or type(error).__name__
                    raise _refused(
                        self.source, f"node {node.name} ({node.operator}) cannot be computed: {reason}"
                    ) from error
            results = result if isinstance(result, tuple) else (result,)
            for name, value in zip(node.outputs, results):
                count = np.prod(np.shape(value), dtype=float)
                if varying.isdisjoint(node.inputs):
                    held += 4 * count
                else:
                    varying.add(name)
                if 8 * count > MAX_BYTES or held > 2 * MAX_BYTES:
                    raise _refused(self.source, f"node {node.name} unfolds into more than {MAX_BYTES:,} bytes")
                done[name] = value
        return done

    def runtime(self, x: Any, names: Sequence[str]) -> list[np.ndarray]:
        """Tensors as onnxruntime computes them."""
        import onnx
        import onnxruntime

        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        for tensor, value in zip(proto.graph.initializer, self.moved):
            if value is not None:
                tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
        stated = {output.name for output in proto.graph.output}
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in stated)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # the file as it stands: what is constant would be unfolded, and all of it kept
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        with as_input_error(self.source, "onnxruntime does not take it"):
            content = proto.SerializeToString()
            del proto  # as much memory again as the weights take
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            del content
            return session.run(list(names), {self.input: np.asarray(x, np.float32)})

    def first_difference(self, x: Any) -> str:
        """The first node whose output is not onnxruntime's."""
        mine = self.run(jax.tree.map(jnp.asarray, self.weights), jnp.asarray(x))
        names = [name for node in self.nodes for name in node.outputs if isinstance(mine.get(name), Array)]
        for name, theirs in zip(names, self.runtime(x, names)):
            if np.shape(theirs) != mine[name].shape or not np.allclose(
                theirs, mine[name], rtol=1e-3, atol=1e-4 * max(np.abs(theirs).max(initial=0), 1e-6)
            ):
                node = next(node for node in self.nodes if name in node.outputs)
                return f"the first node that differs is {node.name} ({node.operator})"
        return "no single node differs"


def _read(path: Path) -> Model:
    if not path.is_file():
        raise InputError(f"{path}: no such ONNX file")
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{path}: ONNX files are read with onnx and onnxruntime; pip install 'salbox[onnx]'"
        ) from error
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: is larger than {MAX_BYTES:,} bytes")
    with as_input_error(path, "not a readable ONNX file"):
        return read_model(onnx.load(str(path), load_external_data=False), str(path), path.resolve().parent)


def read_model(proto: Any, source: str, folder: Path | None) -> Model:
    """What a file holds, checked; `folder` is where weights may lie that are kept in other files. The numbers of the
    weights are taken out of `proto`."""
    import onnx

    graph = proto.graph
    if len(graph.node) > MAX_NODES:
        raise _refused(source, f"holds {len(graph.node):,} nodes, more than {MAX_NODES:,}")
    if not graph.node or not graph.output:
        raise _refused(source, "holds no graph with an output")
    opset = max((o.version for o in proto.opset_import if o.domain in DOMAINS), default=0)
    if not opset:
        raise _refused(source, "states no version of ONNX's operators")
    with as_input_error(source, "its weights cannot be read"):
        constants, moved = _weights(graph, source, folder)
    light = onnx.ModelProto()
    light.CopyFrom(proto)  # what was taken out of a message is freed with all of it
    del proto
    graph = light.graph
    inputs = [each for each in graph.input if each.name not in constants]
    if len(inputs) != 1:
        raise _refused(source, f"must have one input, not {', '.join(each.name for each in inputs) or 'none'}")
    image = _shape(inputs[0])
    if len(image) != 4:
        raise _refused(source, f"its input must be images of four axes, not {list(image)}")
    there = {"", inputs[0].name, *constants}
    nodes = []
    for i, each in enumerate(graph.node):
        name = (each.name or (each.output[0] if each.output else f"node{i}"))[:200]
        if each.domain not in DOMAINS or (each.op_type not in OPERATORS and each.op_type != "Constant"):
            domain = f"{each.domain}." if each.domain else ""
            raise _refused(source, f"the operator {domain}{each.op_type} of node {name} is not known")
        if missing := [read for read in each.input if read not in there]:
            raise _refused(source, f"node {name} reads {missing[0]}, which no node before it gives")
        there.update(each.output)
        with as_input_error(source, f"node {name} has attributes that cannot be read"):
            attributes = {attribute.name: _attribute(attribute, source) for attribute in each.attribute}
        if each.op_type == "Constant":
            value = next((v for k, v in attributes.items() if k.startswith("value")), None)
            if value is None or not each.output:
                raise _refused(source, f"the constant of node {name} holds nothing that can be read")
            constants[each.output[0]] = np.asarray(value, np.float32) if isinstance(value, float) else np.asarray(value)
            continue
        nodes.append(
            Node(_named(name), each.op_type, tuple(each.input), tuple(each.output), {**attributes, "opset": opset})
        )
    if graph.output[0].name not in there:
        raise _refused(source, f"no node gives its output {graph.output[0].name}")
    weights = {name: x for name, x in constants.items() if x.dtype.kind == "f" and x.size > KNOWN}
    known = {name: x for name, x in constants.items() if name not in weights}
    return Model(
        source, light, moved, tuple(nodes), weights, known, inputs[0].name, (1, *image[1:]), graph.output[0].name
    )  # fmt: skip


def _small(value: Any) -> Any:
    """What is known beforehand and large is JAX's, which states a result's size before it computes it."""
    return jnp.asarray(value) if isinstance(value, np.ndarray) and value.size > MOST_KNOWN else value


def _refused(source: str, message: str) -> InputError:
    """A file's own words are cut: they may be as long as it likes."""
    return InputError(f"{source}: {message if len(message) <= 500 else f'{message[:497]}...'}")


def _named(name: str) -> str:
    """A node's name as a layer's: torch's exporter writes module paths, /features/0/Conv."""
    return name.strip("/").replace("/", ".").replace(":", ".").replace(",", ".").replace(" ", "_") or "node"


def _shape(value: Any) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(int(dim.dim_value) if dim.dim_value > 0 else None for dim in dims)


def _weights(graph: Any, source: str, folder: Path | None) -> tuple[dict[str, np.ndarray], list[np.ndarray | None]]:
    """Initializers by name; and in their order those whose numbers were moved out of the graph, None for others."""
    weights: dict[str, np.ndarray] = {}
    moved: list[np.ndarray | None] = []
    total = 0
    for tensor in graph.initializer:
        value = _array(tensor, source, folder)
        total += value.nbytes
        if total > MAX_BYTES:
            raise _refused(source, f"its weights unfold into more than {MAX_BYTES:,} bytes")
        apart = value.dtype.kind == "f" and value.size > KNOWN
        if apart:
            own = aligned(value.shape, value.dtype)
            own[...] = value
            value = own
        apart = apart or bool(tensor.external_data)  # onnxruntime is given the whole model
        weights[tensor.name] = value
        moved.append(value if apart else None)
        if apart:
            name = tensor.name
            tensor.Clear()
            tensor.name = name
    if graph.sparse_initializer:
        raise _refused(source, "sparse weights are not read; save them dense")
    return weights, moved


def _array(tensor: Any, source: str, folder: Path | None) -> np.ndarray:
    """A tensor's numbers. Its stated size is checked first, and where they lie."""
    import onnx

    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    shape = tuple(int(size) for size in tensor.dims)
    count = float(np.prod(shape, dtype=float))
    if min(shape, default=0) < 0 or count * max(dtype.itemsize, 1) > MAX_BYTES:
        raise _refused(source, f"the weight {tensor.name} is stated as {list(shape)}, which is too large")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _outside(tensor, source, folder, dtype, shape)
    array = onnx.numpy_helper.to_array(tensor)
    if array.shape != shape:
        raise _refused(source, f"the weight {tensor.name} does not hold what it states")
    return array


def _outside(tensor: Any, source: str, folder: Path | None, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    where = {entry.key: entry.value for entry in tensor.external_data}
    location = where.get("location", "")
    path = (folder / location).resolve() if folder and location else None
    if path is None or not folder or not path.is_relative_to(folder) or not path.is_file():
        raise _refused(
            source, f"the weight {tensor.name} lies in {location or 'no file'}; it must lie beside the ONNX file"
        )
    offset, length = int(where.get("offset", 0)), int(np.prod(shape)) * dtype.itemsize
    if offset < 0 or path.stat().st_size < offset + length or int(where.get("length", length)) != length:
        raise _refused(source, f"{location} does not hold all of the weight {tensor.name}")
    return np.fromfile(path, dtype, int(np.prod(shape)), offset=offset).reshape(shape)


def _attribute(attribute: Any, source: str) -> Any:
    import onnx

    if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
        raise _refused(source, f"graphs within graphs are not known (attribute {attribute.name})")
    if attribute.type == onnx.AttributeProto.TENSOR:
        return _array(attribute.t, source, None)
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else value
