"""The pickles of state dicts, carried out on a stack of our own: a pickle is a program, and a stranger's at that.

The few instructions that a state dict needs are known here, and the few functions that it calls are ours, which make
tensors (views of storages whose numbers lie elsewhere in the file) and mappings. Whatever else a pickle names or does
is refused, by its name, with a ValueError; instructions are counted, so that a small file cannot keep anyone busy.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np

MOST_STEPS = 2**21  # instructions, some forty for a tensor
SAVE = "save the tensors alone, torch.save(model.state_dict(), FILE)"
_DTYPES: Mapping[str, Any] = MappingProxyType(
    {
        **{"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16},
        **{
            "int64": np.int64,
            "int32": np.int32,
            "int16": np.int16,
            "int8": np.int8,
            "uint8": np.uint8,
            "bool": np.bool_,
        },
        **{"complex64": np.complex64, "complex128": np.complex128},
        **{"double": np.float64, "float": np.float32, "half": np.float16, "long": np.int64, "int": np.int32},
    }
)
_STORAGES = {
    **{"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64"},
    **{"Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool"},
    **{"ComplexFloat": "complex64", "ComplexDouble": "complex128"},
}


@dataclass(frozen=True)
class Storage:
    """Numbers that one or several tensors share."""

    key: str
    dtype: np.dtype
    length: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage: where it begins, its shape, and the steps from element to element, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    def array(self, stored: np.ndarray, name: str) -> np.ndarray:
        """The view itself, of the storage's bytes. ValueError where it reaches outside of them."""
        item = self.dtype.itemsize
        numbers = (self.offset, *self.shape, *self.strides)
        whole = all(type(number) is int and number >= 0 for number in numbers)
        if not whole or len(self.shape) != len(self.strides) or len(self.shape) > 32:
            raise ValueError(
                f"{name} has no shape that can be read: {short(self.shape)}, strides {short(self.strides)}"
            )
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))
        if (last + 1) * item > stored.nbytes:
            raise ValueError(f"{name} reaches outside of its own numbers")
        values = np.frombuffer(stored.data, self.dtype, stored.nbytes // item)[self.offset :]
        strides = [stride * item for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values, self.shape, strides, writeable=False)


@dataclass(frozen=True)
class _Global:
    """What a pickle names: a dtype, a kind of storage, or a function that it may call."""

    name: str


class _Calls:
    """The functions that a state dict calls, as ours; `view` is how tensors are made of storages."""

    @staticmethod
    def mapping(*pairs: Any) -> dict[str | int, Any]:
        return _filled({}, [item for pair in pairs[0] for item in pair] if pairs else [])

    @staticmethod
    def tensor(storage: Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> Tensor:
        kind(storage, Storage)
        return Tensor(storage, offset, kind(shape, tuple), kind(strides, tuple), storage.dtype)

    @staticmethod
    def typed(
        storage: Storage, offset: int, shape: tuple, strides: tuple, grad: Any, hooks: Any, dtype: Any, *_: Any
    ) -> Tensor:
        tensor = _Calls.tensor(storage, offset, shape, strides)
        return Tensor(tensor.storage, offset, shape, strides, _dtype(dtype))

    @staticmethod
    def parameter(data: Any, *_: Any) -> Tensor:
        return kind(data, Tensor)

    @staticmethod
    def size(numbers: Any = ()) -> tuple:
        return tuple(kind(numbers, list | tuple))

    @staticmethod
    def device(*words: Any) -> str:
        return "device"

    @staticmethod
    def subclass(call: Any, cls: Any, arguments: tuple, *_: Any) -> Any:
        kind(cls, _Global)
        return _called(call, kind(arguments, tuple))


_CALLS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "collections.OrderedDict": _Calls.mapping,
        "torch._utils._rebuild_tensor": _Calls.tensor,
        "torch._utils._rebuild_tensor_v2": _Calls.tensor,
        "torch._utils._rebuild_tensor_v3": _Calls.typed,
        "torch._utils._rebuild_parameter": _Calls.parameter,
        "torch._utils._rebuild_parameter_with_state": _Calls.parameter,
        "torch._tensor._rebuild_from_type_v2": _Calls.subclass,
        "torch.Size": _Calls.size,
        "torch.device": _Calls.device,
    }
)
_KINDS = ("torch.Tensor", "torch.nn.parameter.Parameter")  # named by `_rebuild_from_type_v2` alone


def unpickled(file: Any, needed: dict[str, Storage]) -> Any:
    """What the pickle at the file's place makes; `needed` takes the storages that it names.

    Mappings have texts or integers as keys: what is hashed or compared is never what a file nests.
    """
    stack: list[Any] = []
    marks: list[list[Any]] = []
    memo: dict[int, Any] = {}

    def marked() -> list[Any]:
        """What was pushed since the last mark."""
        nonlocal stack
        some, stack = stack, marks.pop()
        return some

    argument: Any
    for step, (code, argument, _) in enumerate(pickletools.genops(file)):
        if step > MOST_STEPS:
            raise ValueError(f"its pickle has more than {MOST_STEPS:,} instructions")
        match code.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(stack)
                stack = []
            case "NONE":
                stack.append(None)
            case "NEWTRUE":
                stack.append(True)
            case "NEWFALSE":
                stack.append(False)
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE"
                | "SHORT_BINSTRING" | "BINSTRING" | "SHORT_BINBYTES" | "BINBYTES"
            ):  # fmt: skip
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                some = marked()
                stack.append(tuple(some))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(code.name[-1])
                some = [stack.pop() for _ in range(count)]
                stack.append(tuple(reversed(some)))
            case "APPEND":
                value = stack.pop()
                kind(stack[-1], list).append(value)
            case "APPENDS":
                some = marked()
                kind(stack[-1], list).extend(some)
            case "SETITEM":
                some = [stack.pop(), stack.pop()][::-1]
                _filled(stack[-1], some)
            case "SETITEMS":
                some = marked()
                _filled(stack[-1], some)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_named(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_named(f"{kind(module, str)}.{kind(name, str)}"))
            case "BINPERSID":
                storage = _storage(stack.pop())
                if needed.setdefault(storage.key, storage).dtype != storage.dtype:
                    raise ValueError(f"its storage {storage.key[:80]!r} has two types")
                stack.append(storage)
            case "REDUCE":
                arguments, call = stack.pop(), stack.pop()
                stack.append(_called(call, kind(arguments, tuple)))
            case "BUILD":  # the attributes of a mapping, such as the versions of its modules, which nobody asks for
                stack.pop()
                kind(stack[-1], dict | Tensor)
            case other:
                raise ValueError(f"a state dict has no use for the pickle instruction {other}; {SAVE}")
    raise EOFError("it ends in the middle of its pickle")


def _named(name: str) -> _Global:
    """What a pickle may name; all else is refused."""
    module, _, last = name.rpartition(".")
    storage = module in ("torch", "torch.storage") and last.endswith("Storage")
    if name in _CALLS or name in _KINDS or (module == "torch" and last in _DTYPES):
        return _Global(name)
    if storage and (last.removesuffix("Storage") in _STORAGES or last in ("UntypedStorage", "TypedStorage")):
        return _Global(name)
    raise ValueError(f"it names {name[:120]!r}, which no state dict needs and which is not run here; {SAVE}")


def _called(call: Any, arguments: tuple) -> Any:
    name = kind(call, _Global).name
    if name not in _CALLS:
        raise ValueError(f"it calls {name!r}, which is no function of a state dict")
    return _CALLS[name](*arguments)


def _storage(told: Any) -> Storage:
    """The storage that a persistent id tells of."""
    if not isinstance(told, tuple) or len(told) not in (5, 6) or told[0] != "storage":
        raise ValueError(f"it refers to something else than numbers; {SAVE}")
    named, key, length = told[1], told[2], told[4]
    if type(length) is not int or length < 0 or not isinstance(key, str):
        raise ValueError("one of its storages has no name, or no length")
    if len(told) == 6 and told[5] is not None:
        raise ValueError("its storages are parts of other ones, as torch wrote them before 0.4; save it again")
    last = kind(named, _Global).name.rpartition(".")[2]
    name = _STORAGES.get(last.removesuffix("Storage"), "uint8")  # untyped ones count bytes
    return Storage(key, np.dtype(_DTYPES[name]), length)


def _dtype(named: Any) -> np.dtype:
    name = kind(named, _Global).name.rpartition(".")[2]
    if name not in _DTYPES:
        raise ValueError(f"it takes {name!r} for a type of numbers")
    return np.dtype(_DTYPES[name])


def _filled(mapping: Any, items: list[Any]) -> dict[str | int, Any]:
    """A mapping with more items, key and value in turn."""
    kind(mapping, dict)
    if len(items) % 2:
        raise ValueError("a mapping in it has a key without a value")
    for key, value in zip(items[::2], items[1::2]):
        if not isinstance(key, str | int):
            raise ValueError(f"a mapping in it has {type(key).__name__} as a key")
        mapping[key] = value
    return mapping


def kind(value: Any, wanted: Any) -> Any:
    """The value, which must be of the wanted type: what a hostile pickle hands over is anything."""
    if not isinstance(value, wanted):
        raise ValueError(f"it has {type(value).__name__} in the place of {getattr(wanted, '__name__', wanted)}")
    return value


def short(value: object) -> str:
    """Words for a value, in which nothing nested is written out."""
    if isinstance(value, tuple) and all(isinstance(part, int) for part in value[:9]):
        return str(list(value[:8]))[:80]
    return repr(value)[:80] if isinstance(value, str | int | float) else type(value).__name__
