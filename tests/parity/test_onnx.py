"""ONNX files against onnxruntime: nine networks that the package onnx brings; files that are damaged or hostile.

Their weights are stated by their sizes alone; here they are random.
"""

from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from localization import datasets  # noqa: E402
from localization.store import open_store  # noqa: E402
from saliency import Execution, InputError, gradient_maps, load_network, occlusion_maps  # noqa: E402
from saliency.models.from_onnx import from_onnx, network_of_model, read_model  # noqa: E402
from saliency.models.network import upto  # noqa: E402
from saliency.models.preprocessing import Preprocessing  # noqa: E402
from scripts import cli  # noqa: E402
from scripts.make_maps import Options  # noqa: E402
from scripts.make_maps import main as make_maps  # noqa: E402
from tests.campaigns.onnx_files import edited, node, small  # noqa: E402

FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"
NETWORKS = [
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
]
IMAGENET = Preprocessing((224, 224))


FAINT = ("densenet121", "inception_v2")  # what their many norms add would drown what an image's window changes


def with_weights(name: str):
    """The model with normal weights (He et al. 2015) and vectors about one half, so that variances are positive."""
    model, rng = onnx.load(FOLDER / f"light_{name}.onnx"), np.random.default_rng(0)
    graph, kept = model.graph, []
    sizes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for each in graph.node:
        if each.op_type != "ConstantOfShape":
            kept.append(each)
            continue
        size = sizes[each.input[0]]
        values = 0.1 + rng.random(size) if len(size) == 1 else rng.normal(size=size) * np.sqrt(2 / np.prod(size[1:]))
        if name in FAINT and each.output[0].endswith(("_b_0", "_bias_0", "_mean_0")):
            values = 0.01 * values
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), each.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    return model


def network(name: str, dtype=np.float32):
    model = read_model(with_weights(name), name, None)
    model.weights.update({key: value.astype(dtype) for key, value in model.weights.items()})
    return network_of_model(model, name, size=None, preprocess=IMAGENET, classes=(), name=name)


def runtime(name: str):
    """Logits `[n, classes]` of images `[n, h, w, c]` by onnxruntime, one image after another as the files ask for."""
    import onnxruntime

    model = with_weights(name)
    if (last := model.graph.node[-1]).op_type == "Softmax":
        model.graph.output[0].name = last.input[0]
        del model.graph.node[-1]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    entry = session.get_inputs()[0].name

    def logits(images):
        images = np.asarray(images, np.float32).transpose(0, 3, 1, 2)
        return np.concatenate([session.run(None, {entry: image[None]})[0].reshape(1, -1) for image in images])

    return logits


def some_slow(*quick: str) -> list:
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]


@pytest.mark.parametrize("name", some_slow("squeezenet", "zfnet512"))  # each of the others compiles for a minute
def test_occlusion_of_every_position(name, rng):
    """Incremental scores, borders included, are what onnxruntime gives for each hidden image; so are all logits of the
    untouched one, which is another than those that reading compares."""
    net, theirs = network(name), runtime(name)
    size = net.architecture.size
    x = rng.normal(size=(1, *size, 3)).astype(np.float32)
    logits = theirs(x)
    limit = 1e-4 * np.abs(logits).max()
    assert_allclose(net(x), logits, atol=limit)
    fill = (rng.normal(size=x.shape) + (3 if name == "inception_v2" else 0)).astype(np.float32)  # it sees means
    found = occlusion_maps(net, x, patch=32, stride=16, fill=fill, target=7, execution=Execution("incremental"))
    assert len(found.windows.positions) == 169
    for score, (row, col) in zip(found.scores.ravel(), found.windows.positions):
        hidden, window = x.copy(), (0, slice(row, row + 32), slice(col, col + 32))
        hidden[window] = fill[window]
        assert_allclose(score, theirs(hidden)[0, 7], atol=limit)
    assert np.ptp(found.scores) > 10 * limit


@pytest.mark.parametrize("name", ["squeezenet", "zfnet512"])
def test_both_engines_at_every_position(name, rng):
    net = network(name)
    x = rng.normal(size=(1, *net.architecture.size, 3)).astype(np.float32)
    found = [
        occlusion_maps(net, x, patch=32, stride=(32, 16), target=7, execution=Execution(engine)).scores
        for engine in ("dense", "incremental")
    ]
    assert np.ptp(found[0]) > 0
    assert_allclose(found[1], found[0], atol=1e-4 * np.abs(net(x)).max())


@pytest.mark.parametrize("name", some_slow("squeezenet", "zfnet512"))
def test_gradients_are_finite_differences(name, rng):
    with jax.enable_x64(True):
        net = network(name, np.float64)
        x = rng.normal(size=(1, *net.architecture.size, 3))
        signed = gradient_maps(net, x, target=7, aggregate="signed")[0].astype(float)
        step = 1e-6
        for place in (0, 3, 1), (111, 64, 0), (200, 223, 2):
            moved = np.repeat(x, 2, 0)
            moved[(slice(None), *place)] += step, -step
            up, down = np.asarray(upto(net.weights, moved, architecture=net.architecture))[:, 7]
            assert_allclose(signed[place], (up - down) / (2 * step), atol=1e-3 * np.abs(signed).max())


def test_a_file(tmp_path, rng):
    path = tmp_path / "small.onnx"
    onnx.save(small(), path)
    net = from_onnx(path, preprocess=Preprocessing((12, 14)), classes=tuple("abcde"))
    assert list(net.layers) == ["conv", "relu", "pool", "dense"]
    assert net.class_name(2) == "c"
    weights = onnx.load(path)
    onnx.save(weights, tmp_path / "apart.onnx", save_as_external_data=True, location="apart.bin", size_threshold=0)
    x = rng.normal(size=(1, 12, 14, 3)).astype(np.float32)
    assert_allclose(from_onnx(tmp_path / "apart.onnx", preprocess=Preprocessing((12, 14)))(x), net(x))


def test_by_the_name_of_its_file(tmp_path):
    path = tmp_path / "small.onnx"
    onnx.save(small(), path)
    with pytest.raises(InputError, match=r"does not say how photos enter it; say so in small.preprocess.json"):
        load_network(str(path))
    (tmp_path / "small.preprocess.json").write_text('{"size": [12, 14], "mode": "stretch"}')
    (tmp_path / "names.txt").write_text("\n".join("abcde"))
    net = load_network(str(path), classes=tmp_path / "names.txt")
    assert (net.preprocess.size, net.classes) == ((12, 14), tuple("abcde"))


def test_through_a_script(tmp_path):
    path = tmp_path / "small.onnx"
    onnx.save(small(), path)
    (tmp_path / "small.preprocess.json").write_text('{"size": [12, 14], "mode": "stretch"}')
    out = tmp_path / "store"
    words = ["--network", path, "--limit", 3, "--precision", "float32", "--out", out, "--quiet"]
    assert make_maps(cli.parse(Options, [*map(str, words)])) == 0
    net, data = load_network(str(path)), datasets.load("scenes", limit=3)
    expected = gradient_maps(net, net.preprocess([data.images[i] for i in range(3)]))
    np.testing.assert_array_equal(np.concatenate([shard.maps for shard in open_store(out)]), expected)


def outside(location: str, **entries):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 5], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    kernel = numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "k")
    return small(initializer=[kernel, tensor])


def then(*nodes):
    """Other nodes after the first four."""
    return small(nodes=[*small().graph.node[:4], *nodes])


HUGE = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**40, 2**20])
BAD = {
    "unknown operator": (
        then(node("NonMaxSuppression", ["d"], ["y"], "nms")),
        "the operator NonMaxSuppression of node nms is not known",
    ),
    "another domain": (
        then(node("Thing", ["d"], ["y"], "thing", domain="com.example")),
        "com.example.Thing of node thing is not known",
    ),
    "a cycle": (
        then(
            node("Add", ["d", "z"], ["q"], "one"),
            node("Relu", ["q"], ["z"], "two"),
            node("Add", ["q", "z"], ["y"], "end"),
        ),
        "node one reads z, which no node before it gives",
    ),
    "size bomb": (small(initializer=[*small().graph.initializer[:1], HUGE]), "which is too large"),
    "expanding bomb": (
        then(
            node("Constant", [], ["s"], "shape", value_ints=[1, 2**20, 2**20]),
            node("Expand", ["d", "s"], ["y"], "bomb"),
        ),
        "node bomb .*unfolds|node bomb .*cannot be computed",
    ),
    "constant bomb": (
        then(
            node("Constant", [], ["s"], "shape", value_ints=[2**30, 2**20]),
            node("ConstantOfShape", ["s"], ["t"], "bomb"),
            node("Add", ["d", "t"], ["y"], "end"),
        ),
        "node bomb unfolds into more than",
    ),
    "tiling bomb": (
        then(
            node("Constant", [], ["s"], "shape", value_ints=[2**40]),
            node("Constant", [], ["u"], "one", value_ints=[1]),
            node("Tile", ["u", "s"], ["t"], "bomb"),
            node("Reshape", ["d", "t"], ["y"], "end"),
        ),
        "node bomb .*unfolds|node bomb .*cannot be computed",
    ),
    "doubling bomb": (
        then(
            node("Constant", [], ["t0"], "shape", value_ints=[1, 4]),
            *(node("Concat", [f"t{i}"] * 2, [f"t{i + 1}"], axis=0) for i in range(45)),
            node("Reshape", ["d", "t45"], ["y"], "end"),
        ),
        "unfolds into more than",
    ),
    "many large constants": (
        then(
            node("Constant", [], ["s"], "shape", value_ints=[2**26]),
            *(node("ConstantOfShape", ["s"], [f"t{i}"]) for i in range(9)),
            node("Identity", ["d"], ["y"], "end"),
        ),
        "unfolds into more than",
    ),
    "huge images": (
        small(inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 2**20, 2**20])]),
        "takes images of 1048576x1048576x3, which is too large",
    ),
    "a name of two lines": (
        then(node("Thing\n", ["d"], ["y"], "a\nb\x1b[31m")),
        r"operator Thing  of node a b\?\[31m",
    ),
    "a graph within": (
        then(node("If", ["d"], ["y"], "choice", then_branch=small().graph)),
        "the operator If of node choice is not known",
    ),
    "outside the folder": (outside("../../../etc/hostname"), "it must lie beside the ONNX file"),
    "absolute path": (outside("/etc/hostname"), "it must lie beside the ONNX file"),
    "cut weights": (outside("short.bin"), "does not hold all of the weight w"),
    "two inputs": (
        small(inputs=[helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 12, 14]) for n in "xz"]),
        "must have one input, not x, z",
    ),
    "any size": (
        small(inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])]),
        "takes images of any size: state size",
    ),
    "not images": (
        small(inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 300])]),
        "its input must be images of four axes",
    ),
    "no logits": (
        small(
            nodes=list(small().graph.node[:2]), outputs=[helper.make_tensor_value_info("b", TensorProto.FLOAT, None)]
        ),
        r"must give logits \[n, classes\]",
    ),
    "a mismatch": (then(node("MatMul", ["w", "d"], ["y"], "dense")), "node dense .MatMul. cannot be computed"),
    "no output": (
        small(outputs=[helper.make_tensor_value_info("q", TensorProto.FLOAT, None)]),
        "no node gives its output q",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files(tmp_path, kind):
    model, message = BAD[kind]
    (tmp_path / "short.bin").write_bytes(b"\0" * 10)
    path = tmp_path / "bad.onnx"
    path.write_bytes(model.SerializeToString())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=message) as refused:
        from_onnx(path)
    assert "\n" not in str(refused.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 500], ids=["empty", "text", "bytes"])
def test_files_that_are_none(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.onnx"):
        from_onnx(path)
    with pytest.raises(InputError, match="no such ONNX file"):
        from_onnx(tmp_path / "missing.onnx")


def test_altered_files(tmp_path):
    """Bytes changed, cut and doubled at random, the graph edited: a network or one sentence, never anything else."""
    whole, path = small().SerializeToString(), tmp_path / "altered.onnx"
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        match rng.integers(4):
            case 0:
                for place in rng.integers(len(data), size=rng.integers(1, 6)):
                    data[place] = rng.integers(256)
            case 1:
                del data[rng.integers(len(data)) :]
            case 2:
                first, last = sorted(rng.integers(len(data), size=2))
                data[first:first] = data[first:last]
            case 3:
                data = bytearray(edited(rng, whole))
        path.write_bytes(bytes(data))
        try:
            from_onnx(path)
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 20
