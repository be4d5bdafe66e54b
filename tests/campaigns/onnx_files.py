"""ONNX files that mean harm: a small valid model, and edits of its graph that no change of single bytes would find."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from saliency.models.onnx_operators import OPERATORS

Rng = np.random.Generator
NUMBERS = (-(2**62), -(2**31), -1, 0, 1, 2, 3, 7, 1000, 2**20, 2**31 - 1, 2**40, 2**62)
SECRETS = ("../secret", "/etc/passwd", "a/../../secret", "model.onnx", "", ".", "/dev/zero", "link", "x" * 300, "a\nb")
NAMES = ("", "x", "y", "a", "../../x", "a\nb", "\x1b[31m", "x" * 5000, "\u202e", "%s", "{0}")
UNKNOWN = ("NonMaxSuppression", "Loop", "If", "Scan", "", "Conv\n", "__import__", "x" * 3000)


def small(size: tuple[int, int] = (12, 14), **changes) -> ModelProto:
    """Conv, Relu, a mean and a dense layer, of which any part may be changed: nodes, inputs, outputs, initializer."""
    rng = np.random.default_rng(0)
    weights = {"k": rng.normal(size=(4, 3, 3, 3)), "w": rng.normal(size=(4, 5))}
    parts = {
        "nodes": [
            node("Conv", ["x", "k"], ["a"], "conv", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"], "relu"),
            node("GlobalAveragePool", ["b"], ["c"], "pool"),
            node("Flatten", ["c"], ["d"], "flatten"),
            node("MatMul", ["d", "w"], ["y"], "dense"),
        ],
        "name": "small",
        "inputs": [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, *size])],
        "outputs": [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        "initializer": [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    }
    return helper.make_model(helper.make_graph(**{**parts, **changes}), opset_imports=[helper.make_opsetid("", 20)])


def write(folder: Path) -> None:
    """A small model, and once more with its weights in a file of their own."""
    onnx.save(small(), folder / "model.onnx")
    onnx.save(small(), folder / "apart.onnx", save_as_external_data=True, location="apart.bin", size_threshold=0)
    (folder / "link").symlink_to("/etc/passwd")


def node(*arguments, **attributes):
    return helper.make_node(*arguments, **attributes)


def some(rng: Rng, things):
    return things[int(rng.integers(len(things)))]


def insert(model: ModelProto, *nodes) -> None:
    """Nodes before the last one, whose input they give as `bomb`."""
    last = model.graph.node[-1]
    kept = [*model.graph.node[:-1], *nodes]
    last.input[0] = "bomb"
    kept.append(last)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def constant(name: str, values: list[int]):
    return node("Constant", [], [name], value_ints=values)


def sizes(rng: Rng, model: ModelProto) -> None:
    tensor = some(rng, model.graph.initializer)
    tensor.dims[int(rng.integers(len(tensor.dims)))] = some(rng, NUMBERS)


def image(rng: Rng, model: ModelProto) -> None:
    shape = model.graph.input[0].type.tensor_type.shape
    axis = some(rng, shape.dim)
    if rng.random() < 0.3:
        axis.dim_param = "n"
    else:
        # a million rows are a valid image, and slow because there are so many
        axis.dim_value = some(rng, [number for number in NUMBERS if number != 2**20])


def cycle(rng: Rng, model: ModelProto) -> None:
    chosen = some(rng, model.graph.node)
    chosen.input[0] = some(rng, model.graph.node).output[0]


def shadow(rng: Rng, model: ModelProto) -> None:
    """A node that gives what another gives already, or what it reads."""
    some(rng, model.graph.node).output[0] = some(rng, ["x", "k", "w", *(n.output[0] for n in model.graph.node)])


def operator(rng: Rng, model: ModelProto) -> None:
    chosen = some(rng, model.graph.node)
    chosen.op_type = some(rng, UNKNOWN) if rng.random() < 0.3 else some(rng, sorted(OPERATORS))


def domain(rng: Rng, model: ModelProto) -> None:
    some(rng, model.graph.node).domain = some(rng, NAMES)


def attribute(rng: Rng, model: ModelProto) -> None:
    """A number of one attribute, or an attribute that the node has not."""
    chosen = some(rng, model.graph.node)
    names = ("axis", "strides", "dilations", "group", "kernel_shape", "pads", "ceil_mode", "to", "value", "alpha")
    name = some(rng, names)
    value = some(rng, ([some(rng, NUMBERS) for _ in range(int(rng.integers(1, 5)))], some(rng, NUMBERS), 0.5, "SAME"))
    for i, each in enumerate(chosen.attribute):
        if each.name == name:
            del chosen.attribute[i]
            break
    chosen.attribute.append(helper.make_attribute(name, value))


def nested(rng: Rng, model: ModelProto) -> None:
    inner = AttributeProto(name="then_branch", type=AttributeProto.GRAPH)
    inner.g.CopyFrom(model.graph)
    some(rng, model.graph.node).attribute.append(inner)


def outside(rng: Rng, model: ModelProto) -> None:
    tensor = some(rng, model.graph.initializer)
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    tensor.external_data.add(key="location", value=some(rng, SECRETS))
    for key in ("offset", "length"):
        if rng.random() < 0.5:
            tensor.external_data.add(key=key, value=str(some(rng, (*NUMBERS, "x", ""))))


def bomb(rng: Rng, model: ModelProto) -> None:
    """A few bytes that unfold: shapes, repetitions, ranges, doublings, outer products."""
    wide = [constant("s", [2**10, 2**20]), node("ConstantOfShape", ["s"], ["t"], "wide")]
    match rng.integers(7):
        case 0:
            insert(model, *wide, node("Add", ["d", "t"], ["bomb"]))
        case 1:
            insert(model, constant("s", [1, 2**20, 2**20]), node("Expand", ["d", "s"], ["bomb"]))
        case 2:
            insert(
                model, constant("u", [1, 2]), constant("s", [2**40]), node("Tile", ["u", "s"], ["t"]),
                node("Reshape", ["d", "t"], ["bomb"]),
            )  # fmt: skip
        case 3:
            ends = [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in (("p", 0), ("q", 2**50), ("r", 1))]
            model.graph.initializer.extend(ends)
            insert(model, node("Range", ["p", "q", "r"], ["t"]), node("Add", ["d", "t"], ["bomb"]))
        case 4:  # each as large as may be: all of them together are not
            many = [node("Neg", [f"t{i}"], [f"t{i + 1}"]) for i in range(60)]
            first = [constant("s", [2**26]), node("ConstantOfShape", ["s"], ["t0"])]
            insert(
                model,
                *first,
                *many,
                node("Gather", ["t60", "z"], ["u"]),
                node("Add", ["d", "u"], ["bomb"]),
            )
            model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), "z"))
        case 5:
            doubled = [node("Concat", [f"t{i}"] * 2, [f"t{i + 1}"], axis=0) for i in range(45)]
            insert(model, constant("t0", [1, 4]), *doubled, node("Reshape", ["d", "t45"], ["bomb"]))
        case 6:
            column = [constant("s", [2**20, 1]), node("ConstantOfShape", ["s"], ["t"])]
            turned = node("Transpose", ["t"], ["u"])
            insert(
                model,
                *column,
                turned,
                node("MatMul", ["t", "u"], ["v"]),
                node("Add", ["d", "v"], ["bomb"]),
            )


def deep(rng: Rng, model: ModelProto) -> None:
    chain = [node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(int(rng.integers(1, 200)))]
    chain[0].input[0], chain[-1].output[0] = "d", "bomb"
    insert(model, *chain)


def version(rng: Rng, model: ModelProto) -> None:
    model.opset_import[0].version = some(rng, NUMBERS)


def names(rng: Rng, model: ModelProto) -> None:
    thing = some(rng, [*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output])
    thing.name = some(rng, NAMES)


def kind(rng: Rng, model: ModelProto) -> None:
    some(rng, model.graph.initializer).data_type = int(rng.integers(0, 30))


def removed(rng: Rng, model: ModelProto) -> None:
    things = some(rng, [model.graph.node, model.graph.initializer, model.graph.input, model.graph.output])
    if things:
        del things[int(rng.integers(len(things)))]


def doubled(rng: Rng, model: ModelProto) -> None:
    things = some(rng, [model.graph.node, model.graph.initializer, model.graph.input, model.graph.output])
    if things:
        things.append(some(rng, things))


def cut(rng: Rng, model: ModelProto) -> None:
    tensor = some(rng, model.graph.initializer)
    tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data) + 1))]


def numbers(rng: Rng, model: ModelProto) -> None:
    """NaN and infinite weights."""
    tensor = some(rng, model.graph.initializer)
    if tensor.data_location == TensorProto.EXTERNAL:
        return
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[int(rng.integers(array.size))] = some(rng, (np.nan, np.inf, 3e38))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


EDITS: tuple[Callable[[Rng, ModelProto], None], ...] = (
    sizes, image, cycle, shadow, operator, domain, attribute, nested, outside, bomb, deep, version, names, kind,
    removed, doubled, cut, numbers,
)  # fmt: skip


def edited(rng: Rng, content: bytes) -> bytes:
    """One to three edits of the graph; those that the graph no longer allows are left out."""
    model = ModelProto()
    model.ParseFromString(content)
    for edit in (some(rng, EDITS) for _ in range(int(rng.integers(1, 4)))):
        try:
            edit(rng, model)
        except (IndexError, TypeError, ValueError):  # nothing left to edit; a size that cannot be written
            continue
    return model.SerializeToString()
