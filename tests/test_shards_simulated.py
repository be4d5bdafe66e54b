"""The simulation of shards on many devices against closed forms."""

import json
from pathlib import Path

import numpy as np
import pytest

from scripts.benchmarks.shards import Failures, Options, Rates, attempts, dealt, main, queued, row

NEVER = Failures(1e30, 0.0)


def test_without_failures_time_is_rounds_of_shards():
    seconds, lost, met = attempts(np.full(10, 3.0), NEVER, np.random.default_rng(0))
    assert (seconds == 3).all() and (lost, met) == (0, 0)
    assert queued(seconds, 4) == dealt(seconds, 4) == 9  # 10 shards on 4 devices: three rounds


def test_a_shard_takes_what_the_closed_form_expects(rng):
    """(between + restart) * (exp(work / between) - 1): tries until one survives."""
    failures = Failures(50.0, 7.0)
    seconds, lost, met = attempts(np.full(200_000, 30.0), failures, rng)
    expected = (50 + 7) * np.expm1(30 / 50)
    assert seconds.mean() == pytest.approx(expected, rel=0.01)
    assert met / len(seconds) == pytest.approx(np.expm1(30 / 50), rel=0.02)
    assert seconds.sum() == pytest.approx(30 * len(seconds) + lost + 7 * met)


def test_a_queue_is_at_least_as_even(rng):
    seconds = rng.exponential(5.0, 301)
    ideal = seconds.sum() / 8
    assert ideal <= queued(seconds, 8) <= ideal + seconds.max()
    assert queued(seconds, 8) <= dealt(seconds, 8)
    slow = [0.0] * 8
    for one in seconds:  # the obvious way
        slow[int(np.argmin(slow))] += one
    assert queued(seconds, 8) == pytest.approx(max(slow))


def test_the_limit_moves_with_the_number_of_devices():
    rates = Rates(device=900, decode=700, read_bytes=100, written_bytes=0, store=1e6)
    made = {devices: row(10_000, devices, 100, rates, NEVER, 1, 0) for devices in (8, 1000)}
    assert [made[devices]["limit"] for devices in (8, 1000)] == ["decoding", "store"]
    assert made[8]["hours"]["no failure"] == pytest.approx(10_000 / (8 * 700) / 3600)
    assert made[1000]["hours"]["no failure"] == pytest.approx(10_000 / 1e4 / 3600)


def test_larger_shards_lose_more():
    rates, often = Rates(100, 100), Failures(600.0, 30.0)
    lost = [row(200_000, 8, shard, rates, often, 3, 0)["lost"] for shard in (256, 4096, 16_384)]
    assert lost == sorted(lost) and lost[0] < 0.01 < lost[-1]


def test_the_script_writes_the_same_for_a_seed(tmp_path, capsys):
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        assert main(Options(photos=(5000,), devices=(3,), shard=(64,), draws=2, days_between=1e-5, out=file)) == 0
    one, other = (json.loads(file.read_text())["results"] for file in files)
    assert one == other and one[0]["failures"] > 0
    assert "limit decoding" in capsys.readouterr().out


def test_the_page_has_what_the_file_says():
    root = Path(__file__).parents[1]
    page = (root / "docs" / "speed.md").read_text()
    rows = json.loads((root / "data" / "benchmarks" / "shards.json").read_text())["results"]
    for small, large in zip(rows[::2], rows[1::2]):
        assert (small["shard"], large["shard"]) == (256, 4096)
        hours = [one["hours"][how] for one in (small, large) for how in ("queue", "dealt")]
        digits = next(digits for least, digits in ((10, 1), (1, 2), (0, 3)) if hours[0] >= least)
        cells = [
            f"{small['photos']:,}",
            f"{small['devices']:,}",
            small["limit"],
            *(f"{one:.{digits}f}" for one in hours),
        ]
        assert f"| {' | '.join(cells)} |" in page
