import numpy as np
import pytest

from localization.published import SIX, TABLE_2, TABLE_3, VOC, published_rows


def test_rows_stand_beside_the_same_classes_and_protocol():
    rows = {name: (mean, classes) for name, mean, classes in published_rows("paper-voc07", VOC)}
    assert rows.keys() == {*TABLE_2, *TABLE_3}
    paper = "Sensitivity maps (Fast Object Localization)"
    mean, classes = rows[paper]
    assert (mean, classes["aeroplane"], classes["tvmonitor"]) == (40.1, 63.8, 41.2)
    assert rows["Heuristic, 2nd width (Fast Object Localization)"] == (38.4, {})
    assert list(published_rows("paper-voc07", sorted(SIX)))[-1] == (paper, 55.0, {})
    assert list(published_rows("paper-imagenet", ["n1"]))[-1] == (paper, 68.76, {})
    assert not list(published_rows("corloc", VOC)) and not list(published_rows("paper-voc07", VOC[1:]))


@pytest.mark.parametrize("name", TABLE_2)
def test_the_papers_means_are_those_of_its_classes_but_for_rounding(name):
    mean, first, second = TABLE_2[name]
    assert len((*first, *second)) == len(VOC)
    slack = 0.9 if "Fast Object Localization" in name else 0.05  # its own classes give 41.0, it prints 40.1
    assert np.mean((*first, *second)) == pytest.approx(mean, abs=slack)
