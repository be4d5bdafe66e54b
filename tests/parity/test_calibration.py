"""Calibration figures against scikit-learn and netcal."""

import numpy as np
import pytest

from saliency.robustness.calibration import BINS, figures


@pytest.fixture
def predictions(rng):
    logits = 2 * rng.normal(size=(500, 7))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    p[:3] = np.eye(7)[:3]  # confidence exactly 1
    labels = np.where(rng.random(500) < 0.4, p.argmax(-1), rng.integers(7, size=500))
    labels[:3] = [0, 1, 2]
    return p, labels


def test_nll_and_brier_against_scikit_learn(predictions):
    from sklearn.metrics import brier_score_loss, log_loss

    p, labels = predictions
    found = figures(np.log(np.maximum(p, 1e-300)), labels)
    assert found["nll"].value == pytest.approx(log_loss(labels, p, labels=range(7)), rel=1e-9)
    brier = brier_score_loss(labels, p, labels=range(7), scale_by_half=False)
    assert found["brier"].value == pytest.approx(brier, rel=1e-9)


def test_ece_against_netcal(predictions):
    netcal = pytest.importorskip("netcal.metrics")
    p, labels = predictions
    found = figures(np.log(np.maximum(p, 1e-300)), labels)
    assert found["ece"].value == pytest.approx(netcal.ECE(BINS).measure(p, labels), rel=1e-9)
