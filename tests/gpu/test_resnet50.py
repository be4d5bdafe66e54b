"""ResNet50: the incremental engine's score at every position is the dense engine's."""

import pytest

from tests.gpu.engines import check_engines

pytestmark = pytest.mark.gpu


def test_every_position(record_property):
    check_engines("resnet50", record_property)
