"""A comparison of the whole menu: what a budget takes, what the seed does, which methods can be told apart."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from localization.comparison import CompareOptions, budget, compare, seeds
from localization.comparison.report import _best_of_families, best_of_each
from localization.comparison.samples import gathered
from localization.comparison.thrift import thinner
from localization.comparison.verdict import by_route, paragraph, routes_paragraph
from localization.datasets import load
from localization.statistics import holm, mcnemar_exact
from saliency import InputError
from saliency.faithfulness import MEASURES
from saliency.methods import METHODS, Options
from tests.test_comparison import network, voc

QUICK = Options(samples=2, steps=2, masks=8, patch=8)


def test_holm_by_hand_and_never_below_the_plain_p(rng):
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.5]), [0.04, 0.09, 0.09, 0.5])
    np.testing.assert_allclose(holm([0.9, 0.9]), [1, 1])
    assert holm([]).shape == (0,)
    p = rng.random(9)
    slow = [
        max(min(1, (9 - k) * q) for k, q in enumerate(sorted(p)) if q <= own) for own in p
    ]  # the largest multiple among the smaller ones
    np.testing.assert_allclose(holm(p), slow)
    with pytest.raises(InputError, match=r"p must lie in 0\.\.1"):
        holm([1.5])


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return gathered(network(), voc(tmp_path_factory.mktemp("voc"), n=8), folds=2)


@pytest.fixture
def prices(monkeypatch):
    """Passes of a known price, methods that take what their passes do, and nothing after their maps."""

    def set_prices(forward=0.01, both=0.03, after=0.0):
        def timed(samples, names, settings):
            found = budget.predicted(samples.net, settings, forward, both)
            return {name: found[name] for name in names}

        monkeypatch.setattr(budget, "measured", lambda net: (forward, both))
        monkeypatch.setattr(budget, "timed", timed)
        monkeypatch.setattr(budget, "after_maps", lambda samples, options: after)

    set_prices()
    return set_prices


def together(found, count=None, after=0.0):
    """The slow way: of methods of the same passes the first costs all, each other one what follows its maps."""
    total, made = 0.0, set()
    for name in list(found.seconds)[: len(found.taken) if count is None else count]:
        shared = METHODS[name].shared
        passes = shared(found.settings).passes if shared else name
        total += after if passes in made else found.seconds[name]
        made.add(passes)
    return total


def chosen(samples, seconds, folder=None, **changes):
    return budget.choose(samples, CompareOptions(budget=seconds, settings=QUICK, **changes), folder)


def test_a_budget_takes_the_cheapest_by_passes_and_says_what_it_leaves(samples, prices):
    seconds = budget.predicted(samples.net, QUICK, 0.01, 0.03)
    assert list(seconds.values()) == sorted(seconds.values())
    assert seconds["random"] == 0 and seconds["activation"] == 0.01
    np.testing.assert_allclose(seconds["gradient-max"], 0.03)
    np.testing.assert_allclose(seconds["smoothgrad"], 0.06)
    assert "chefer" not in seconds  # which does not suit
    found = chosen(samples, 0.08)
    assert together(found) <= 0.08 < sum(seconds.values())
    assert found.left_out and together(found, 1 + len(found.taken)) > 0.08  # one more would be too many
    dearest, cheapest = max(seconds[n] for n in found.taken), min(found.left_out.values())
    assert dearest <= cheapest and set(found.taken) | set(found.left_out) == set(seconds)
    assert found.taken == [name for name in METHODS if name in found.taken]
    said = found.sentence()
    assert said.startswith("a budget of 0.08 s an image") and all(name in said for name in found.left_out)
    assert chosen(samples, 1e6).sentence().endswith("none is left out")


def test_what_follows_the_maps_is_counted_with_every_method(samples, prices):
    free = chosen(samples, 0.5)
    prices(after=0.02)
    found = chosen(samples, 0.5)
    assert len(found.taken) < len(free.taken) and found.seconds["random"] == 0.02
    assert together(found, after=0.02) <= 0.5 and "20 ms a method" in found.sentence()
    prices(after=1.0)
    with pytest.raises(InputError, match=r"budget of 0\.5 s an image is less than the cheapest method takes, 1 s with"):
        chosen(samples, 0.5)


def test_what_may_fit_is_timed_and_that_decides(samples, prices, monkeypatch):
    asked = []

    def slow(samples, names, settings):
        asked.append(list(names))
        return {name: 0.4 if name == "full-grad" else 0.001 for name in names}

    monkeypatch.setattr(budget, "timed", slow)
    found = chosen(samples, 0.3)
    assert set(found.timed) == set(asked[0]) and "full-grad" in found.left_out and "grad-cam" in found.taken
    assert "score-cam" not in asked[0] and found.seconds["score-cam"] == pytest.approx(0.01 * 7)  # never compiled
    assert found.compiled == set(found.timed)


def test_a_run_that_was_killed_goes_on_with_the_same_choice(samples, prices, tmp_path):
    first = chosen(samples, 0.5, tmp_path, thin=True)
    budget.save(first, tmp_path)
    prices(0.5, 0.9)  # a slower hour
    again = chosen(samples, 0.5, tmp_path, thin=True)
    assert (again.taken, again.settings, again.sentence()) == (first.taken, first.settings, first.sentence())
    assert chosen(samples, 0.6, tmp_path, thin=True).taken != first.taken  # another question
    (tmp_path / budget.FILE).write_text("{")
    assert chosen(samples, 0.5, tmp_path, thin=True).taken != first.taken


def test_less_of_all_methods_before_any_is_left_out(samples, prices):
    size, given = samples.net.preprocess.size, Options(samples=5, steps=10, masks=48, iterations=40)
    ways = list(thinner(given, size))
    rough = [budget.predicted(samples.net, way, 0.01, 0.03) for way in ways]
    sums = [budget.together(own, budget.shared_passes(own, way), 0.0) for way, own in zip(ways, rough)]
    assert ways[0] == given and sums == sorted(sums, reverse=True) and sums[-1] < sums[0] / 2
    assert ways[-1].samples == 2 and ways[-1].masks > ways[-1].segments  # else no segment has a value of its own
    options = CompareOptions(budget=0.5 * (sums[0] + sums[-1]), settings=given, thin=True)
    found = budget.choose(samples, options)
    first = next(way for way, total in zip(ways, sums) if total <= options.budget)
    assert not found.left_out and found.settings == first and f"samples {first.samples} (of 5), " in found.sentence()
    whole = budget.choose(samples, replace(options, budget=2 * sums[0]))
    assert whole.settings == given and not whole.thinned
    few = budget.choose(samples, replace(options, budget=0.5))
    assert few.left_out and few.settings == ways[-1]
    own = list(thinner(replace(given, samples=2, segments=4, patch=8, stride=8, cell=3, channels=2), size))[-1]
    assert (own.samples, own.segments, own.patch, own.stride, own.cell, own.channels) == (2, 4, 8, 8, 3, 2)


def test_no_setting_is_compiled_that_the_last_one_rules_out(samples, prices, monkeypatch):
    """Methods that take 1.4 times what their passes do: the next setting to be timed is one that may then fit."""
    given, asked = Options(samples=5, steps=10, masks=48, iterations=40), []
    ways = list(thinner(given, samples.net.preprocess.size))
    rough = [budget.predicted(samples.net, way, 0.01, 0.03) for way in ways]
    sums = [budget.together(own, budget.shared_passes(own, way), 0.0) for way, own in zip(ways, rough)]

    def timed(samples, names, settings):
        asked.append(settings)
        found = budget.predicted(samples.net, settings, 0.01, 0.03)
        return {name: 1.4 * found[name] for name in names}

    monkeypatch.setattr(budget, "timed", timed)
    found = budget.choose(samples, CompareOptions(budget=sums[1], settings=given, thin=True))
    able = [level for level, total in enumerate(sums) if 1.4 * total <= 1.05 * sums[1]]
    first = next(level for level, total in enumerate(sums) if total <= 1.5 * sums[1])
    assert asked[0] == ways[first] and found.settings == asked[-1] and not found.left_out
    assert all(settings in [ways[level] for level in able] for settings in asked[1:]) and len(asked) <= 3


@pytest.mark.usefixtures("composed")
def test_the_machine_is_measured(samples):
    forward, both = budget.measured(samples.net)
    assert 0 < forward < 5 and 0 < both < 5
    assert 0 < budget.after_maps(samples, CompareOptions(fit="lad", routes=("heuristic",), quality=2)) < 5
    seconds = budget.timed(samples, ["grad-cam", "rise"], QUICK)
    assert all(0 < own < 5 for own in seconds.values())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Two methods, one of them by three seeds."""
    data = voc(tmp_path_factory.mktemp("voc"))
    options = CompareOptions(
        quality=3, folds=3, fit="lad", routes=("heuristic",), repeats=3, settings=QUICK,
        measures=("insertion", "drop", "rank", "random logit", "sanity", "completeness"),
    )  # fmt: skip
    return compare(network(), data, methods=("rise", "gradient-max", "flip(gradient-max)", "edges"), options=options)


@pytest.mark.slow
@pytest.mark.usefixtures("composed")
def test_random_methods_are_repeated_and_the_first_seed_is_the_rows_own(found):
    (row,) = found.results["seeds"]
    assert (row["method"], row["route"], len(row["corloc"])) == ("rise", "heuristic", 3)
    own = next(r["corloc"] for r in found.rows if (r["method"], r["route"]) == ("rise", "heuristic"))
    assert row["corloc"][0] == pytest.approx(own)
    assert row["mean"] == pytest.approx(np.mean(row["corloc"]))
    assert row["deviation"] == pytest.approx(np.std(row["corloc"], ddof=1))
    assert "of 3 seeds" in seeds.sentence([row])
    assert {r["method"] for r in found.results["methods"]} == {"rise", "gradient-max", "flip(gradient-max)", "edges"}
    assert "What is noise" in found.files["report.html"].decode()


@pytest.mark.usefixtures("composed")
def test_the_quality_has_the_measures_that_were_asked_for(found):
    rows = {row["method"]: row for row in found.results["quality"]["rows"]}
    assert list(rows["rise"]) == [
        "method", "insertion", "drop", "rank", "completeness", "sanity", "random logit",
    ]  # fmt: skip
    assert rows["edges"]["random logit"] == pytest.approx(1) and rows["gradient-max"]["random logit"] < 1
    page = found.files["report.html"].decode()
    assert MEASURES["rank"].caution in page.replace("&#39;", "'")


@pytest.mark.usefixtures("composed")
def test_the_verdict_rests_on_the_images_own_hits(found):
    own = found.results["verdict"]
    assert own["compared"] == 4 and own["best"] in own["same"]
    right = {name: [float(i["iou"]) > 0.5 for i in found.images if i["method"] == name] for name in own["corloc"]}
    tests = {one["method"]: one for one in own["against_best"]}
    for name, one in tests.items():
        assert one["p"] == pytest.approx(mcnemar_exact(right[name], right[own["best"]]).p)
        assert one["holm"] >= one["p"] and (one["holm"] > 0.05) == (name in own["same"])
    assert own["cheapest"] in own["same"]
    prices = own["ms_per_image"]
    assert prices[own["cheapest"]] == min(prices[name] for name in own["same"])
    assert all(prices[name] > 1.5 * prices[own["cheapest"]] for name in own["for_nothing"])
    said = paragraph(own, found.results["test"])
    assert own["best"] in said and said in found.files["report.html"].decode().replace("&#39;", "'")


def test_the_linear_map_is_set_against_the_heuristic_of_the_same_map():
    n, right, wrong = 20, np.array([0.0, 0, 4, 4]), np.array([5.0, 5, 9, 9])
    hit = {"a": {"linear map": np.arange(n) < 5, "heuristic": np.arange(n) < 15}}
    hit |= {
        "b": {"linear map": np.arange(n) < 12, "heuristic": np.arange(n) < 12},
        "c": {"heuristic": np.arange(n) < 9},
    }
    fits = {
        name: SimpleNamespace(
            boxes={(name, route): np.where(own[:, None], right, wrong) for route, own in routes.items()}
        )
        for name, routes in hit.items()
    }
    samples = SimpleNamespace(true=[right[None]] * n, test=np.arange(n), images=np.arange(n))
    first, second = by_route(fits, samples)
    assert (first["method"], second["method"]) == ("a", "b") and first["difference"] == pytest.approx(-0.5)
    assert first["p"] == pytest.approx(mcnemar_exact(*hit["a"].values()).p) and first["holm"] == 2 * first["p"] < 0.05
    assert second["difference"] == second["low"] == second["high"] == 0 and second["holm"] == 1


def test_a_linear_map_that_is_behind_is_named():
    def one(method, difference, holm):
        return {
            "method": method,
            "difference": difference,
            "low": difference - 0.1,
            "high": difference + 0.1,
            "holm": holm,
        }

    said = routes_paragraph([one("a", -0.3, 0.001), one("b", -0.02, 0.6), one("c", 0.2, 0.01), one("d", 0.0, 1.0)])
    assert "4 methods" in said and "better for certain of 1." in said
    assert "Worse for certain: a -30.0 [-40.0, -20.0]." in said and "may be chance: b -2.0 [-12.0, +8.0]." in said
    assert "Worse for certain: none." in routes_paragraph([one("d", 0.0, 1.0)])


def test_the_paragraph_says_what_was_found():
    names = ["a", "b", "edges"]
    made = {
        "level": 0.05, "best": "a", "compared": 3, "same": ["a", "edges"], "cheapest": "edges", "for_nothing": ["a"],
        "resolution": 0.08, "controls": ["edges"], "ms_per_image": dict(zip(names, (90.0, 5.0, 0.25))),
        "corloc": dict(zip(names, (0.5, 0.2, 0.48))),
    }  # fmt: skip
    said = paragraph(made, 40)
    assert "the best, a (50.0%): edges (48.0%)" in said and "Worse for certain: 1." in said
    assert "below about 8.0 points" in said and "controls" in said
    assert said.endswith("are not better than edges for certain: a (90 ms).")
    alone = paragraph(made | {"same": ["a"], "for_nothing": [], "controls": []}, 40)
    assert "is told apart from all others" in alone and "cheapest" not in alone


def test_long_tables_show_the_best_of_each_family_first():
    rows = [
        {"method": name, "base": base, "route": route, "corloc": share}
        for name, base, route, share in (
            ("rise", "rise", "linear map", 0.4), ("rise", "rise", "heuristic", 0.6),
            ("flip(rise)", "flip(rise)", "heuristic", 0.7), ("edges", "edges", "heuristic", 0.1),
            ("mean box", None, "none", 0.3),
        )
    ]  # fmt: skip
    assert [(row["method"], row["corloc"]) for row in best_of_each(rows)] == [
        ("flip(rise)", 0.7), ("rise", 0.6), ("mean box", 0.3), ("edges", 0.1),
    ]  # fmt: skip
    assert [row["method"] for row in _best_of_families(rows)] == ["flip(rise)", "mean box", "edges"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"measures": ("luck",)}, "measures must be"),
        ({"repeats": 0}, "repeats must be"),
        ({"budget": 0}, "budget must be"),
        ({"thin": True}, "thin takes less of each method where a budget does not hold the menu: give a budget"),
    ],
)
def test_options_out_of_range(change, says):
    with pytest.raises(InputError, match=says):
        CompareOptions(**change)


def test_a_budget_wants_the_whole_menu(tmp_path):
    with pytest.raises(InputError, match="name all in methods"):
        compare(network(), voc(tmp_path), methods=("rise",), options=CompareOptions(budget=1.0))


@pytest.mark.usefixtures("composed")
def test_the_page_of_a_budget_says_what_it_left_out(tmp_path, prices):
    options = CompareOptions(quality=0, folds=3, fit="lad", routes=("heuristic",), settings=QUICK, budget=0.015)
    one = compare(network(), voc(tmp_path / "voc"), methods=("all",), options=options, folder=tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["budget"]["budget"] == 0.015 and results["budget"]["took"] > 0
    (note,) = [note for note in one.notes if "budget" in note]
    assert "left out, for they would exceed it" in note and "score-cam" in note
    made = {row["method"] for row in results["methods"]}
    assert made == set(budget.choose(one_of(tmp_path), options).taken)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Forecast and time" in page and "all together" in page and page.count("timed on a few photos") >= len(made)


def one_of(folder):
    return gathered(network(), load("voc", folder / "voc", split="trainval"), folds=3)
