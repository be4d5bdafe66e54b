"""The type checker of our tests: array shapes and dtypes in signatures, held to by beartype when a call returns.

mypy checks everything else. A call that raises is not checked, so that a public function that refuses an argument is
heard in its own words; one that takes an argument and answers must have said in its signature that it takes it.
"""

from collections.abc import Callable
from inspect import isclass
from types import FunctionType
from typing import Any, get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

# int passes for float, as Python's typing has it
_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: FunctionType) -> Callable[..., Any]:
    """`function`, its annotations of arrays checked by beartype.

    jaxtyping calls this on two stand-ins for each function of ours: one gets the arguments before the call, the other
    the arguments and, as `ret0`, the result after it. Only the second checks.
    """
    hints = {name: hint for name, hint in function.__annotations__.items() if of_arrays(hint)}
    if "ret0" not in function.__code__.co_varnames or not hints:
        return function
    function.__annotations__ = hints  # a stand-in's own: the function that it stands for keeps its annotations
    return _beartype(function)


def of_arrays(hint: object) -> bool:
    """Whether a hint names an array of jaxtyping, on its own or within a union or a container."""
    return (isclass(hint) and issubclass(hint, AbstractArray)) or any(of_arrays(part) for part in get_args(hint))
