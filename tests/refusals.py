"""What a refusal says."""

from collections.abc import Callable

import pytest

from saliency import InputError


def refused(call: Callable[[], object]) -> str:
    """The one sentence with which a call ends."""
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)
