"""State dicts as `torch.save` writes them (.pth, .pt), read without torch and without running what they say.

Such a file is a pickle that says where each tensor's numbers lie (`torch_pickles`), and the numbers: since torch 1.6 as
a zip archive (`NAME/data.pkl`, `NAME/data/KEY`), before that as five pickles in a row (magic number, protocol, system,
the object, the storages' keys), then for each storage its length as int64 and its bytes. Numbers stay in the file,
mapped into memory, until they are used.
"""

import io
import mmap
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from saliency._reading import MAX_BYTES, as_input_error
from saliency.models.torch_pickles import SAVE, Storage, Tensor, kind, short, unpickled

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar")  # .tar: the habit of training scripts, not an archive
NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts put the state dict
MAGIC = 0x1950A86A20F9469CFC6C  # of the format before 1.6
MOST_WORDS = 2**26  # bytes of the pickle itself, which holds names and shapes
OTHER_ORDER = "written by a machine whose bytes are in the other order; save it again on one of today's"


def read_torch(path: Path | str) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, with its own dtypes (bfloat16: ml_dtypes'), mapped read-only where they lie.

    The state dict may be the object itself or lie in it under "state_dict", "model_state_dict" or "model", or under
    any other name where it is the only one. What is no tensor (an epoch, a learning rate) is left out.

    Raises InputError for a file that is damaged, names anything else than a state dict needs, reaches outside of its
    own storages, or holds no state dict.
    """
    with as_input_error(path, "not a PyTorch file that can be read here"), open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if content[:4] == b"PK\x03\x04":
            found, storages = _zipped(file, content)
        else:
            found, storages = _legacy(content)
        tensors = _state_dict(found)
        arrays = {name: tensor.array(storages[tensor.storage.key], name) for name, tensor in tensors.items()}
        there = sum(stored.nbytes for stored in storages.values())
        if sum(array.nbytes for array in arrays.values()) > there + MAX_BYTES:
            raise ValueError(f"its tensors repeat {there:,} bytes to more than {MAX_BYTES:,} others")
        return arrays


def _zipped(file: BinaryIO, content: mmap.mmap) -> tuple[Any, dict[str, np.ndarray]]:
    """The object of a zip archive, and the bytes of the storages that it names."""
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("a zip archive without a data.pkl of torch.save")
        top = pickles[0].removesuffix("data.pkl")
        if f"{top}constants.pkl" in members:
            raise ValueError(f"a TorchScript program, not a state dict; {SAVE}")
        if members[pickles[0]].file_size > MOST_WORDS:
            raise ValueError("its pickle is larger than any state dict's")
        if f"{top}byteorder" in members and archive.open(f"{top}byteorder").read(8).strip() != b"little":
            raise ValueError(OTHER_ORDER)
        needed: dict[str, Storage] = {}
        found = unpickled(io.BytesIO(archive.read(pickles[0])), needed)
        packed = sum(members[f"{top}data/{key}"].file_size for key in needed if _is_packed(members, f"{top}data/{key}"))
        if packed > MAX_BYTES:
            raise ValueError(f"unfolds into more than {MAX_BYTES:,} bytes")
        storages = {key: _member(archive, content, members, f"{top}data/{key}") for key in needed}
    return found, _complete(storages, needed)


def _is_packed(members: Mapping[str, zipfile.ZipInfo], name: str) -> bool:
    if name not in members:
        raise ValueError(f"its storage {name[:80]!r} is missing")
    return members[name].compress_type != zipfile.ZIP_STORED


def _member(
    archive: zipfile.ZipFile, content: mmap.mmap, members: Mapping[str, zipfile.ZipInfo], name: str
) -> np.ndarray:
    """The bytes of a member: mapped where it is stored as it is, as torch does."""
    member = members[name]
    if _is_packed(members, name):
        return np.frombuffer(archive.read(name), np.uint8)
    head = content[member.header_offset : member.header_offset + 30]
    first = member.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    if head[:4] != b"PK\x03\x04" or first + member.file_size > len(content):
        raise ValueError(f"its storage {name[:80]!r} is cut off")
    return np.frombuffer(content, np.uint8, member.file_size, first)


def _legacy(content: mmap.mmap) -> tuple[Any, dict[str, np.ndarray]]:
    """The object of a file from before torch 1.6, and the bytes of its storages."""
    if unpickled(content, {}) != MAGIC:
        raise ValueError("it begins with none of torch.save's two formats")
    if (protocol := unpickled(content, {})) != 1001:
        raise ValueError(f"an unknown protocol, {short(protocol)}")
    system = unpickled(content, {})
    if not isinstance(system, dict) or not system.get("little_endian", True):
        raise ValueError(OTHER_ORDER)
    needed: dict[str, Storage] = {}
    found = unpickled(content, needed)
    keys = kind(unpickled(content, {}), list)
    storages = {}
    for key in keys:
        if not isinstance(key, str) or key not in needed:
            raise ValueError(f"its storage {short(key)} belongs to nothing")
        length = int.from_bytes(content.read(8), "little")
        size, first = length * needed[key].dtype.itemsize, content.tell()
        if first + size > len(content):
            raise ValueError(f"its storage {short(key)} is cut off")
        storages[key] = np.frombuffer(content, np.uint8, size, first)
        content.seek(first + size)
    return found, _complete(storages, needed)


def _complete(storages: dict[str, np.ndarray], needed: Mapping[str, Storage]) -> dict[str, np.ndarray]:
    """The storages, each as long as its tensors were told."""
    for key, storage in needed.items():
        if key not in storages:
            raise ValueError(f"its storage {short(key)} is missing")
        if storages[key].nbytes < storage.length * storage.dtype.itemsize:
            raise ValueError(f"its storage {short(key)} is cut off")
    return storages


def _state_dict(found: Any) -> dict[str, Tensor]:
    """The tensors of the mapping that is meant."""
    places = list(_places(found))
    if not places:
        said = f"a mapping of {_names(found)}" if isinstance(found, dict) else f"a {type(found).__name__.strip('_')}"
        raise ValueError(f"holds no state dict, a mapping from names to tensors, but {said}; {SAVE}")
    return {name: value for name, value in places[0].items() if isinstance(value, Tensor) and isinstance(name, str)}


def _places(found: Any) -> Iterator[dict[Any, Any]]:
    """Mappings that hold tensors, the likeliest first; under a name of its own one alone."""

    def holds(value: Any) -> bool:
        return isinstance(value, dict) and any(isinstance(one, Tensor) for one in value.values())

    if not isinstance(found, dict):
        return
    yield from (found[name] for name in NESTED if holds(found.get(name)))
    if holds(found):
        yield found
    others = [value for value in found.values() if holds(value)]
    if len(others) == 1:
        yield others[0]


def _names(mapping: Mapping[Any, Any]) -> str:
    some = [repr(name)[:40] for name in list(mapping)[:5]]
    return ", ".join(some) + (", ..." if len(mapping) > 5 else "") if some else "nothing"
