"""What the benchmark of first maps concludes from its rows."""

import pytest

from scripts.benchmarks import start

TIMES = {
    ("cold", "auto"): (4.0, "dense"), ("warm", "auto"): (3.0, "dense"), ("cold", "dense"): (4.0, "dense"),
    ("warm", "dense"): (2.5, "dense"), ("cold", "incremental"): (7.0, "incremental"),
    ("warm", "incremental"): (1.5, "incremental"), ("cold", "captum"): (6.0, "captum"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("state", "best", "possible", "captum"), [("cold", 1, 1, 4 / 6), ("warm", 3 / 1.5, 3 / 2.5, 3 / 6)]
)
def test_auto_is_set_beside_the_best_engine_and_the_best_that_its_cache_allows(
    monkeypatch, state, best, possible, captum
):
    """A warm start of the engine that `auto` did not run before is one that it cannot have."""
    monkeypatch.setattr(start, "planned", lambda *_: "one way")
    table = [
        {
            "network": "net", "state": own, "engine": engine, "planned_for": 1, "ran": ran, "ready": 0.2,
            "first": first, "tenth": 0.5, "totals": {"1": first},
        }
        for (own, engine), (first, ran) in TIMES.items()
    ]  # fmt: skip
    found = start.verdict(table, "net", state, start.Options(networks=("net",), photos=(1,)))
    assert found["auto_over_best"] == {"1": pytest.approx(best)}
    assert found["auto_over_possible"] == {"1": pytest.approx(possible)}
    assert found["first_over_captum"] == pytest.approx(captum) and found["tenth_over_captum"] == pytest.approx(1)
    assert ("cache allows" in start.text(table, [found], start.Options(photos=(1,)))) == (state == "warm")
