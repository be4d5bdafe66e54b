"""That the tests' type checker is at work: a wrong shape is caught, and a refusal keeps the function's own words."""

import importlib

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from localization import boxes
from saliency.errors import InputError
from tests.conftest import HOOKED


@pytest.mark.parametrize("name", HOOKED)
def test_hooked_modules_exist_and_were_imported_by_the_hook(name: str) -> None:
    assert "jaxtyping" in importlib.import_module(name).__loader__.__class__.__module__


def test_a_wrong_shape_or_dtype_is_caught_though_the_function_answers() -> None:
    two = np.array([[0.0, 0, 2, 2], [1, 1, 3, 3]])
    assert boxes.area(two).shape == (2,)
    with pytest.raises(TypeCheckError, match="boxes"):
        boxes.area(np.ones((2, 3)))
    with pytest.raises(TypeCheckError, match="boxes"):
        boxes.clip(two.astype(np.int64), (4, 5))


def test_a_refusal_is_in_the_functions_own_words() -> None:
    with pytest.raises(InputError, match=r"boxes must be \[n, 4\]"):
        boxes.as_boxes(np.ones((2, 5)))
