"""Files as `torch.save` writes them, without torch: both formats, and pickles that name and call whatever is wanted."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

KINDS = {
    **{np.dtype(np.float32): "Float", np.dtype(np.float16): "Half", np.dtype(np.float64): "Double"},
    **{np.dtype(np.int64): "Long", np.dtype(np.uint8): "Byte", np.dtype(np.bool_): "Bool"},
    np.dtype(ml_dtypes.bfloat16): "BFloat16",
}


class Named:
    """A global that a pickle names; `Named("os.system")("ls")` is a call of it."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, *arguments: Any) -> "Call":
        return Call(self, arguments)


class Call:
    def __init__(self, named: Named, arguments: tuple):
        self.how = named, arguments

    def __reduce__(self) -> tuple:
        return self.how


class Stored:
    """A storage: numbers that several arrays may be views of."""

    def __init__(self, values: np.ndarray):
        self.values = values

    def view(self, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> Call:
        return Named("torch._utils._rebuild_tensor_v2")(self, offset, shape, strides, False, OrderedDict())


class Writer(pickle._Pickler):
    """Pickles arrays as tensors of their own storages; `stored` takes the storages by key."""

    def __init__(self, file: io.BytesIO, legacy: bool, protocol: int = 2):
        super().__init__(file, protocol)
        self.legacy, self.stored = legacy, dict[str, np.ndarray]()

    def persistent_id(self, item: Any) -> tuple | None:
        if not isinstance(item, Stored):
            return None
        keys = {id(values): key for key, values in self.stored.items()}
        key = keys.get(id(item.values), str(len(keys)))
        self.stored[key] = item.values
        kind = Named(f"torch.{KINDS[item.values.dtype]}Storage")
        return ("storage", kind, key, "cpu", item.values.size, *([None] if self.legacy else []))

    def reducer_override(self, item: Any) -> Any:
        if not isinstance(item, np.ndarray):
            return NotImplemented
        values = np.ascontiguousarray(item).reshape(-1)
        strides = tuple(stride // item.itemsize for stride in np.ascontiguousarray(item).strides[: item.ndim])
        return Stored(values).view(item.shape, strides).__reduce__()

    def save_named(self, item: Named) -> None:
        module, _, name = item.name.rpartition(".")
        self.write(b"c" + module.encode() + b"\n" + name.encode() + b"\n")

    dispatch = {**pickle._Pickler.dispatch, Named: save_named}  # noqa: RUF012


def save_zip(path: Path, content: Any, compression: int = zipfile.ZIP_STORED, protocol: int = 2) -> None:
    """The format since torch 1.6."""
    words = io.BytesIO()
    writer = Writer(words, False, protocol)
    writer.dump(content)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", words.getvalue())
        archive.writestr("archive/byteorder", "little")
        for key, values in writer.stored.items():
            archive.writestr(f"archive/data/{key}", values.tobytes())
        archive.writestr("archive/version", "3\n")


def save_legacy(path: Path, content: Any) -> None:
    """The format before."""
    words = io.BytesIO()
    for one in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
        pickle.dump(one, words, 2)
    writer = Writer(words, True)
    writer.dump(content)
    pickle.dump(sorted(writer.stored), words, 2)
    for key in sorted(writer.stored):
        words.write(struct.pack("<q", writer.stored[key].size) + writer.stored[key].tobytes())
    path.write_bytes(words.getvalue())


def state(tensors: Mapping[str, np.ndarray]) -> OrderedDict:
    """As modules give it, with the attribute that torch sets on it."""
    found = OrderedDict(tensors)
    found._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    return found
