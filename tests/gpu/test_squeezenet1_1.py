"""SqueezeNet, real where its weights are there: the incremental engine's score at every position is the dense one's."""

import pytest

from tests.gpu.engines import check_engines

pytestmark = pytest.mark.gpu


def test_every_position(record_property):
    check_engines("squeezenet1_1", record_property)
