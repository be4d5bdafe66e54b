"""Classifiers under masks: the functions, and the script from end to end in its smallest size."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from localization import robustness as studies
from localization.boxes import iou
from localization.datasets.scenes import scenes
from localization.robustness import Training, augmented_corloc
from saliency.errors import InputError
from saliency.models.classes import read_classes
from saliency.models.network import Network
from saliency.models.operators.fast_gradient import convolve
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.robustness import Options as Masks
from saliency.robustness import evaluate, evaluation, report, training
from saliency.robustness.calibration import METRICS, Sampled, resample_weights
from saliency.robustness.evaluation import masked_log_probabilities
from saliency.robustness.masks import draw_masks
from saliency.robustness.parts import Parts
from saliency.robustness.subject import Subject
from saliency.robustness.summary import bands, findings, slopes, summary, verdict
from scripts import cli
from scripts.robustness import Options, main

TINY = scenes_cnn(((2,), (3,)), size=(14, 18))


def test_masked_log_probabilities_match_a_loop(rng):
    net = random_network(TINY)
    x, fill = rng.normal(size=(2, 3, 2, 14, 18, 3)).astype(np.float32)
    hidden = rng.random((3, 2, 14, 18)) < 0.4
    found = masked_log_probabilities(net, x, hidden, fill, batch=4)
    assert found.shape == (3, 2, 10)
    for i in range(3):
        for t in range(2):
            image = np.where(hidden[i, t][..., None], fill[i, t], x[i, t])
            np.testing.assert_allclose(found[i, t], jax.nn.log_softmax(net(image[None])[0]), atol=1e-5)
    with pytest.raises(InputError, match="masks"):
        masked_log_probabilities(net, x, hidden[:, :1])


def test_slopes_match_least_squares_on_the_drawn_items(rng):
    a, b = rng.normal(size=(2, 60))
    values = 0.3 * a - 0.1 * b + rng.normal(size=60)
    weights = resample_weights(np.arange(60), draws=3)
    found = slopes(values, {"a": 5 * a + 2, "b": b, "constant": np.ones(60)}, weights)
    design = np.stack([np.ones(60), (a - a.mean()) / a.std(), (b - b.mean()) / b.std()], 1)
    for i, drawn in enumerate([np.ones(60, int), *weights.astype(int)]):
        expected = np.linalg.lstsq(design.repeat(drawn, 0), values.repeat(drawn), rcond=None)[0]
        got = [one.value if i == 0 else one.resamples[i - 1] for one in found.values()]
        np.testing.assert_allclose(got, [*expected[1:], 0], atol=1e-9)


def test_the_fast_weight_gradient_is_the_gradient(rng):
    x, kernel, up = rng.normal(size=(2, 5, 7, 3)), rng.normal(size=(3, 3, 3, 4)), rng.normal(size=(2, 5, 7, 4))

    def slow(x, kernel):
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return (up * y).sum()

    expected = jax.grad(slow, (0, 1))(x, kernel)
    found = jax.grad(lambda x, k: (up * convolve(x, k)).sum(), (0, 1))(x, kernel)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_training_learns_and_augmentations_see_the_same_batches(rng):
    labels = rng.integers(10, size=64)
    images = np.zeros((64, 14, 18, 3), np.uint8)
    images[np.arange(64), :, labels] = 255  # a bright row of pixels says which class it is
    net, losses = random_network(TINY), []
    options = {"epochs": 25, "batch": 32, "rate": 1e-2}
    trained = training.train(net, images, labels, progress=lambda step, loss: losses.append(loss), **options)
    assert len(losses) == 50 and losses[-1] < 0.8 * losses[0]
    again = training.train(net, images, labels, **options)
    for layer, parameters in trained.weights.items():
        for name, value in parameters.items():
            np.testing.assert_array_equal(value, again.weights[layer][name])
    assert trained.architecture == net.architecture


def one(value):
    """A figure whose interval has no width."""
    return Sampled(value, np.full(10, value))


def test_verdicts():
    assert verdict("accuracy", one(0.9), one(0.7)) == pytest.approx(
        {"by": 0.2, "low": 0.2, "high": 0.2, "verdict": "held"}
    )
    assert verdict("nll", one(0.5), one(0.4))["verdict"] == "contradicted"
    assert verdict("nll", one(0.5), one(0.5))["verdict"] == "undecided"


def test_bands_hold_the_coverages_that_lie_in_them():
    tenths = tuple(i / 10 for i in range(1, 10))
    assert bands(tenths) == {
        "10–90%": [0, 1, 2, 3, 4, 5, 6, 7, 8],
        "10–30%": [0, 1, 2],
        "40–60%": [3, 4, 5],
        "70–90%": [6, 7, 8],
    }
    assert bands((0.75, 0.125)) == {"12.5–75%": [0, 1], "12.5%": [1], "75%": [0]}
    assert bands((0.5,)) == {"50%": [0]}


def test_findings_say_where_a_claim_held():
    order = [
        {"level": "video", "fill": "0", "gentler": "life", "worse": "perlin", "coverages": band, "metric": metric,
         "verdict": "held" if band == "10%" or metric == "accuracy" else "contradicted"}
        for band in ("10–90%", "10%", "90%")
        for metric in METRICS
    ]  # fmt: skip
    said = "life gentler than perlin: at 10% held in accuracy, NLL, Brier score and ECE; "
    said += "at 90% held in accuracy, contradicted in NLL, Brier score and ECE."
    assert findings(order, "0") == [said]
    assert findings(order, "grey") == []


SMALL = Options(
    masks=Masks(families=("bernoulli", "life"), coverages=(0.3, 0.6), fills=("0",)),
    training=Training(("cutmix",), videos=6, frames=2, train_frames=64, epochs=1),
    quiet=True,
)


@pytest.mark.slow
def test_the_script_trains_evaluates_reports_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    options = replace(SMALL, out=tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(studies, "evaluate", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            main(options)
    assert not (options.out / "results.json").exists()
    monkeypatch.setattr(training, "train", None)  # the networks are there: nothing may be trained again
    assert main(options) == 0
    said = capsys.readouterr().out
    assert "bernoulli" in said and said.startswith("Shape: of 6 videos")
    results = json.loads((options.out / "results.json").read_text())
    assert any("bernoulli gentler than life" in sentence for sentence in results["findings"])
    assert {row["network"] for row in results["curves"]} == {"plain", "cutmix"}
    accuracy = [r for r in results["curves"] if r["metric"] == "accuracy" and r["level"] == "video"]
    assert len(accuracy) == 2 * (1 + 2 * 2)
    assert {row["family"] for row in results["table"]} == {"none", "bernoulli", "life"}
    assert all(abs(f["error"]) < 0.005 for row in results["regression"] for f in row["families"].values())
    assert "hidden share of the object" in results["regression"][0]["slopes"]
    with open(options.out / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results["curves"]) and float(rows[0]["value"]) == results["curves"][0]["value"]
    page = (options.out / "report.html").read_text()
    assert page.count("data:image/png") == len(list((options.out / "pictures").iterdir())) == 8
    assert "Does training with augmentations help" in page

    monkeypatch.setattr(evaluation, "masked_log_probabilities", None)  # nor evaluated
    main(options)
    again = json.loads((options.out / "results.json").read_text())
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in results.items() if k != "seconds"}


@pytest.mark.slow
def test_corloc_of_classifiers_trained_on_with_augmentations(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "load_network", lambda name: random_network(scenes_cnn(((2,), (3,)))))
    kept = []
    monkeypatch.setattr(studies, "_boxed", lambda *a, real=studies._boxed: kept.append(real(*a)) or kept[-1])
    sizes = {"tune_scenes": 64, "map_scenes": (12, 9)}
    digits = tmp_path / "network-plain-0123456789abcdef.npz"  # of the other question, in the same folder
    digits.touch()
    rows = augmented_corloc(("cutmix",), folder=tmp_path, **sizes)
    assert [row["augmentation"] for row in rows] == ["plain", "cutmix"]
    truth = scenes("test", 9, 0)
    right = []
    for row, found in zip(rows, kept, strict=True):
        right.append([iou(box, true) > 0.5 for box, true in zip(found["boxes"], truth.boxes)])
        assert row["corloc"] == pytest.approx(np.mean(right[-1]))
        assert row["accuracy"] == pytest.approx(np.mean(found["classes"] == truth.labels))
        assert row["gain"] == pytest.approx(np.mean(right[-1]) - np.mean(right[0]))
    plain, cutmix = (found["boxes"] for found in kept)
    assert (plain != cutmix).any()  # they were trained on different images
    monkeypatch.setattr(training, "train", None)
    assert augmented_corloc(("cutmix",), folder=tmp_path, **sizes) == rows and len(kept) == 2
    assert digits.exists()  # it was removed, and so every run with both questions ended in an error
    section = studies.corloc_section(rows, sizes["map_scenes"], tmp_path / "page")
    assert (
        tmp_path / "page" / "pictures" / "corloc.png"
    ).exists() and "Of 1 training with an augmentation" in section.text


@pytest.fixture
def photos(tmp_path, rng, monkeypatch):
    """Six photos of two classes, the CSV that names ten, and a tiny network for them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(6):
        pixels = rng.integers(0, 256, (40, 30 + i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"n0000000{i % 2}_photo{i}.png")
    table = tmp_path / "classes.csv"
    table.write_text("index,wnid,name\n" + "".join(f"{i},n0000000{i},class {i}\n" for i in range(10)))
    net = random_network(TINY)
    monkeypatch.setattr("saliency.models.weights.load_network", lambda name, weights, classes: net)
    masks = replace(SMALL.masks, fills=("grey", "0"), coverages=(0.5,))
    return replace(SMALL, net=cli.NetworkOptions(classes=table), images=folder, masks=masks, out=tmp_path / "out")


@pytest.fixture
def undrawn(monkeypatch):
    """No page and no picture, where a test looks at neither."""
    monkeypatch.setattr(evaluation, "write_report", lambda *_: None)


def test_a_pretrained_classifier_on_photos(photos):
    assert main(photos) == 0
    results = json.loads((photos.out / "results.json").read_text())
    assert results["subject"].startswith("scenes_cnn on photos of 2 classes") and results["videos"] == 6
    assert {row["level"] for row in results["curves"]} == {"video"}
    assert {row["fill"] for row in results["curves"]} == {"grey", "0"}
    assert "hidden share of the object" not in results["regression"][0]["slopes"]
    assert results["augmentations"] == {} and results["localization"] == []


def test_a_photo_without_a_class_is_named(photos):
    (photos.images / "n00000001_photo1.png").rename(photos.images / "holiday.png")
    with pytest.raises(InputError, match=r"holiday\.png: neither its name nor its folder begins with the wnid"):
        main(photos)
    assert not photos.out.exists()


def changed(options: Options, **changes) -> Options:
    """Options with other values, wherever they stand."""
    for part in ("masks", "training", "net"):
        inner = getattr(options, part)
        own = {name: changes.pop(name) for name in list(changes) if hasattr(inner, name)}
        options = replace(options, **{part: replace(inner, **own)})
    return replace(options, **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"augmentations": ("blur",)}, "unknown augmentation 'blur'"),
        ({"families": ("clouds",)}, "unknown family 'clouds'"),
        ({"coverages": (0.0, 0.5)}, "coverages must be a finite number above 0, not 0.0"),
        ({"coverages": (0.5, 1.5)}, "coverages must lie in 0..1 without 0, not 1.5"),
        ({"fills": ("0", "0.0")}, "fills must differ"),
        ({"fills": ("grey", "127.5")}, "fills must differ"),
        ({"fills": ("20", "20,20,20")}, "fills must differ"),
        ({"fills": ("fog",)}, "fill must be grey, mean"),
        ({"videos": 1}, "at least 2 videos"),
        ({"train_frames": 63}, "images must be at least 64"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"network": "squeezenet1_1"}, "--network and --images go together"),
        ({"images": Path("x"), "localization": True}, "run it without --images"),
    ],
)
def test_errors(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        main(changed(SMALL, out=tmp_path / "out", **change))
    assert not (tmp_path / "out").exists()


def test_a_damaged_part_is_named(tmp_path):
    (tmp_path / f"clean-{'a' * 16}.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"clean-a+.npz: .*; remove it, if it is there, and run the same"):
        Parts(tmp_path).get("clean", "a" * 64, dict)


def test_other_weights_under_the_same_name_give_their_own_figures(photos, undrawn, monkeypatch, rng):
    """Answers are found by the content of all that entered them: weights, photos, labels."""
    found = []
    for seed in (0, 1, 0):
        net = random_network(TINY, seed=seed)
        monkeypatch.setattr("saliency.models.weights.load_network", lambda name, weights, classes, net=net: net)
        assert main(photos) == 0
        results = json.loads((photos.out / "results.json").read_text())
        assert results["networks"] == {"plain": net.digest}
        found.append({(r["family"], r["fill"], r["metric"]): r["value"] for r in results["curves"]})
        (photos.out / "results.json").unlink()
    assert found[0] == found[2] != found[1]
    Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(photos.images / "n00000000_photo0.png")
    assert main(photos) == 0
    results = json.loads((photos.out / "results.json").read_text())
    assert {(r["family"], r["fill"], r["metric"]): r["value"] for r in results["curves"]} != found[2]


def test_finished_parts_serve_again_and_others_make_room(photos, undrawn, monkeypatch):
    main(photos)
    kept = sorted((photos.out / "parts").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "masked_log_probabilities", None)  # nothing may be computed again
        main(photos)
    assert sorted((photos.out / "parts").iterdir()) == kept
    main(changed(photos, coverages=(0.4,)))
    again = sorted((photos.out / "parts").iterdir())
    assert len(again) == len(kept) and again != kept  # each in the place of one of its name


def test_the_answer_is_the_one_that_a_loop_finds(rng):
    """Accuracy under each mask, counted by hand."""
    nets = {"plain": random_network(TINY), "other": random_network(TINY, seed=3)}
    photos = [rng.integers(0, 256, (20, 25, 3), dtype=np.uint8) for _ in range(5)]
    labels = np.array([0, 1, 2, 3, 4])
    options = Masks(families=("life", "triangles"), coverages=(0.25, 0.75), fills=("0", "grey"), draws=10)
    found = evaluate(nets, photos, labels, options=options)
    x = nets["plain"].preprocess(photos)
    for row in found.rows:
        if row["metric"] != "accuracy":
            continue
        shown = np.zeros_like(x[:1]) + nets["plain"].preprocess.normalise(
            np.full(3, {"0": 0.0, "grey": 127.5}[row["fill"]])
        )
        hidden = np.zeros(x.shape[:3], bool)
        if row["family"] != "none":
            hidden = np.asarray(draw_masks(row["family"], 5, (14, 18), row["coverage"]).hidden)[:, 0]
        answers = np.asarray(nets[row["network"]](np.where(hidden[..., None], shown, x))).argmax(-1)
        assert row["value"] == pytest.approx((answers == labels).mean()), row
    assert {(r["network"], r["fill"]) for r in found.rows if r["family"] == "life"} == {
        (name, fill) for name in nets for fill in ("0", "grey")
    }
    assert found.table().splitlines()[0].split() == ["hidden", "by", "share", "0", "grey"]
    assert len(found.table().splitlines()) == 2 + 2 * 2
    html = found._repr_html_()
    assert "data:image/png" in html and "Shape: of 5 images" in html and "<html" not in html


def test_a_photo_that_is_there_twice_counts_once_in_the_intervals(rng):
    one, two = (rng.integers(0, 256, (14, 18, 3), dtype=np.uint8) for _ in range(2))
    options = Masks(families=("life",), coverages=(0.5,), fills=("0",), draws=5)
    found = evaluate(random_network(TINY), [one, two, one.copy()], [0, 1, 0], options=options)
    assert (found.results["videos"], found.results["groups"]) == (3, 2)


def test_training_images_that_are_scored_are_taken_out(rng):
    images, labels = rng.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8), np.arange(5)
    kept, left, notes = studies.apart(images, labels, images[[1, 3]].copy())
    np.testing.assert_array_equal(left, [0, 2, 4])
    np.testing.assert_array_equal(kept, images[[0, 2, 4]])
    assert notes == ["2 of 5 training images are scored too, and nothing was learned from them"]
    assert studies.apart(images, labels, images[:0])[2] == []


def made_up(rng, right: dict[tuple[str, str], float], nets=("plain",)) -> list[str]:
    """The conclusion of answers that are right in these shares of 400 images, by fill and family."""
    labels = np.zeros(400, int)

    def answers(share: float) -> np.ndarray:
        log_p = np.log(np.full((1, 400, 1, 10), 0.02))
        log_p[0, np.arange(400), 0, np.where(np.arange(400) < share * 400, 0, 1)] = np.log(0.82)
        return log_p

    fills = tuple(dict.fromkeys(fill for fill, _ in right))
    families = tuple(dict.fromkeys(family for _, family in right))
    options = Masks(families=families, coverages=(0.5,), fills=fills, draws=200)
    subject = Subject({name: random_network(TINY) for name in nets}, np.zeros((400, 1, 14, 18, 3), np.float32), labels,
                      np.arange(400))  # fmt: skip
    every = {(fills[0], ""): {name: answers(0.9) for name in nets}}
    every |= {key: {name: answers(share + 0.1 * (name != "plain")) for name in nets} for key, share in right.items()}
    return summary(options, subject, every)["conclusion"]


def test_the_conclusion_follows_from_the_data(rng):
    alike = {("0", "life"): 0.8, ("0", "perlin"): 0.4, ("grey", "life"): 0.7, ("grey", "perlin"): 0.3}
    shape, fill, confidence = made_up(rng, alike)
    assert "90.0% are classified right with nothing hidden" in shape and "whatever the fill" in shape
    assert "80.0% (life) to 40.0% (perlin) where black (level 0) shows" in shape
    assert "life, perlin with black (level 0) and life, perlin with grey (level 127.5)" in fill
    assert "of 1 pair of shapes 1 is clearly ordered alike with both fills, 0 clearly the other way round" in fill
    assert "surer than it is right" in confidence

    reversed_ = {**alike, ("grey", "life"): 0.3, ("grey", "perlin"): 0.7}
    _, fill, _ = made_up(rng, reversed_)
    assert "0 are clearly ordered alike with both fills, 1 clearly the other way round (life against perlin)" in fill

    shape, fill, _ = made_up(rng, {**alike, ("grey", "life"): 0.5, ("grey", "perlin"): 0.5})
    assert "shapes differ clearly only where black (level 0) shows" in shape and "1 not settled" in fill
    shape, _, _ = made_up(rng, dict.fromkeys(alike, 0.5))
    assert "no pair of shapes differs clearly" in shape
    shape, fill, _ = made_up(rng, {("0", "life"): 0.8, ("0", "perlin"): 0.4})
    assert "whatever the fill" not in shape and "other fills were not tried" in fill

    *_, training = made_up(rng, alike, ("plain", "cutmix"))
    assert "with black (level 0) 2 of 2 pairs of training and mask shape gain accuracy and 0 lose some" in training
    assert "with nothing hidden they change accuracy by +0.0 points" in training


def test_the_page_defines_its_words_and_names_no_seed(photos, composed):
    assert main(photos) == 0
    page = (photos.out / "report.html").read_text()
    for word in ("single pixels, each hidden", "clusters of pixels", "grey (level 127.5)", "black (level 0)", "points",
                 "nothing is cut away", "photos of 2 classes", "95% interval", "nothing was trained"):  # fmt: skip
        assert word in page, word
    assert not re.search(r"seed 00|belief", page, re.I)
    lead = page[page.index('class="lead"') :]
    assert lead.index("Shape: of 6 images") < lead.index("Fill: ") < lead.index("Confidence: ") < lead.index("<h2>")
    assert main(replace(photos, net=replace(photos.net, entry=cli.Entry("crop")))) == 0
    assert "cut away on average" in (photos.out / "report.html").read_text()


def test_photos_are_named_by_folder_wnid_or_box(photos, rng):
    classes = read_classes(photos.net.classes)
    for source, expected in {
        "n00000003_x.png": 3,
        "n00000004/x.png": 4,
        "n00000004/n00000003_x.png": 3,
        "Class_5/x.png": 5,
        "class 6/more/x.png": 6,
        "holiday.png": None,
        "n99999999/x.png": None,
    }.items():
        assert studies.class_of_name(source, classes) == expected, source


def test_what_cannot_be_read_is_listed_and_the_run_goes_on(photos, composed, capsys):
    (photos.images / "n00000001_broken.png").write_bytes(b"no photo")
    assert main(photos) == 0
    assert "1 left out or repaired:" in capsys.readouterr().out
    results = json.loads((photos.out / "results.json").read_text())
    assert results["videos"] == 6 and "n00000001_broken.png" in results["notes"][0]
    assert "n00000001_broken.png" in (photos.out / "report.html").read_text()
    with pytest.raises(InputError, match="1 left out"):
        main(replace(photos, strict=True))


def test_a_network_without_class_names_is_refused(photos, monkeypatch):
    with pytest.raises(InputError, match="has no names for its classes, to know what is right: give its --classes"):
        main(changed(photos, classes=None))


def test_no_analysis_waits_for_matplotlib():
    code = "import saliency.zeiler_fergus, saliency.robustness, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_has_one_flat_vocabulary(monkeypatch, capsys):
    words = "--augmentations bernoulli --families life --coverages 0.3 0.6 --fills 0 grey --videos 6 --train-frames 64"
    words += " --seed 3 --network squeezenet1_1 --resize crop --images ~/photos --limit 4 --strict"
    options = cli.parse(Options, words.split())
    assert options.masks == Masks(("life",), (0.3, 0.6), ("0", "grey"), seed=3)
    assert options.training == Training(("bernoulli",), videos=6, train_frames=64)
    assert options.net == cli.NetworkOptions("squeezenet1_1", entry=cli.Entry("crop"))
    assert options.images == Path("~/photos").expanduser() and options.limit == 4 and options.strict
    monkeypatch.setattr(sys, "argv", ["robustness", "--families", "clouds"])
    with pytest.raises(SystemExit) as stopped:
        cli.start(main, Options)
    assert stopped.value.code == 2 and "unknown family 'clouds'" in capsys.readouterr().err


def test_no_curve_is_cut_off():
    """Both fills share an axis; the second, drawn later, may need more of it."""
    rows = [
        {
            "family": family,
            "fill": fill,
            "metric": metric,
            "coverage": coverage,
            "value": value,
            "low": value,
            "high": value,
        }
        for metric in METRICS
        for family, fill, coverage, value in (
            ("none", "0", 0.0, 0.1),
            ("life", "0", 0.5, 0.2),
            ("life", "grey", 0.5, 0.9),
        )
    ]
    figure = report.curve_figure(rows, ["0", "grey"])
    assert len(figure.axes) == 8
    assert all(axes.get_ylim()[0] == 0 and axes.get_ylim()[1] > 0.9 for axes in figure.axes)


def test_a_difference_of_nothing_has_no_sign():
    assert report._estimate(-0.01, -0.02, 0.03, "+", 1).replace("\u00a0", " ") == "+0.0 [0.0, 0.0]"


def binary(probabilities: str, classes: int) -> Network:
    net = random_network(scenes_cnn(((2,), (3,)), classes=classes, size=(14, 18)))
    return Network(replace(net.architecture, probabilities=probabilities), net.weights, net.preprocess)


def test_one_output_with_a_sigmoid_is_two_classes(rng):
    net = binary("sigmoid", 1)
    photos = [rng.integers(0, 256, (20, 25, 3), dtype=np.uint8) for _ in range(4)]
    found = evaluate(net, photos, [0, 1, 1, 0], options=Masks(("life",), (0.5,), ("0",), draws=5))
    right = (np.asarray(net(net.preprocess(photos)))[:, 0] > 0) == [0, 1, 1, 0]
    clean = {row["metric"]: row["value"] for row in found.rows if row["family"] == "none"}
    assert clean["accuracy"] == right.mean()
    z = np.asarray(net(net.preprocess(photos)), float)[:, 0] * [-1, 1, 1, -1]
    assert clean["nll"] == pytest.approx(np.logaddexp(0, -z).mean(), rel=1e-5)


@pytest.mark.parametrize(("by", "classes"), [("sigmoid", 3), ("softmax", 1)])
def test_classes_that_do_not_exclude_one_another_are_refused(by, classes):
    with pytest.raises(InputError, match="nets must have classes that exclude one another, at least two"):
        evaluate(binary(by, classes), np.zeros((2, 9, 9, 3), np.uint8), [0, 0])
