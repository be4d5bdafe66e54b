"""The parts of `scripts.benchmark throughput` that are not time: photos, bytes, ratios and the figure."""

import json
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliency import report
from saliency.errors import InputError
from saliency.models.weights import ARCHITECTURES
from scripts.benchmarks import throughput
from scripts.benchmarks.throughput import folder, page, picture, roof


def test_photos_are_the_same_for_a_seed_and_not_all_alike(tmp_path):
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        folder.written_photos(tmp_path / name, 4, seed)
        found.append([sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / name).glob("*.jpg"))])
    assert found[0] == found[1] and not set(found[0]) & set(found[2]) and len(set(found[0])) == 4
    with Image.open(tmp_path / "a" / "00003.jpg") as photo:
        assert photo.size == folder.SIZE[::-1] and photo.mode == "RGB"


def test_the_roof_counts_weights_once_and_activations_twice():
    architecture = ARCHITECTURES["scenes_cnn"]()
    weights = sum(np.prod(one) for layer in architecture.parameter_shapes().values() for one in layer.values())
    made = sum(np.prod(shape) for shape in architecture.shapes(*architecture.size).values())
    assert roof.bytes_of(architecture) == 4 * weights + 8 * made


def test_an_unknown_network_and_a_machine_without_torch_are_refused(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="unknown network 'nothing'"):
        throughput.main(throughput.Options(networks=("nothing",), out=tmp_path / "a.json"))
    with pytest.raises(InputError, match="unknown part 'rest'; choose from data_set, in_memory, roof"):
        throughput.main(throughput.Options(parts=("rest",), out=tmp_path / "a.json"))
    with pytest.raises(InputError, match=r"none\.md: has no lines '<!-- from a\.json -->' and '<!-- end -->'"):
        throughput.main(throughput.Options(page=tmp_path / "none.md", out=tmp_path / "a.json"))
    monkeypatch.setattr(throughput, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install"):
        throughput.main(throughput.Options(out=tmp_path / "a.json"))


def test_the_figure_and_the_lines_take_what_there_is():
    data_set = {
        "network": "vgg16",
        "maps": "gradient",
        "photos": 5,
        "ms_a_photo": {"ours": 8.0, "torch": 10.0},
        "ratio": 0.8,
        "ratio_spread": [0.7, 0.9],
        "apart": 0.0,
    }  # fmt: skip
    machine = {"multiplications_a_second, one core": 5e12, "multiplications_a_second, all cores": 8e12}
    data_set["share"] = throughput._share(data_set, machine)
    in_memory = {
        "network": "vgg16", "batch": {"ours": 4, "torch": 8}, "ratio": 1.1, "ratio_spread": [1.0, 1.2],
        "ratio, one photo": 0.9, "ratio_spread, one photo": [0.8, 1.0],
    }  # fmt: skip
    share = {"share": 0.4}
    full = {
        "data_set": [data_set], "in_memory": [in_memory],
        "roof": [{"network": "vgg16", "dense": share, "gradient": share}], "left_out": ["roof alexnet"],
        "machine": machine,
    }  # fmt: skip
    passes = roof.of_a_pass(ARCHITECTURES["vgg16"]())
    assert 15.2e9 < passes < 15.8e9  # as is published
    assert data_set["share"] == pytest.approx({"ours": 2 * passes / 6.4e10, "torch": 2 * passes / 8e10})
    for results in (full, {name: [] for name in full}):
        assert report.png(picture.drawn(results)).startswith(b"\x89PNG")
    said = "\n".join(throughput._lines(full))
    assert "ratio 0.80 [0.70, 0.90]" in said and "one photo 0.90" in said and "roof alexnet" in said
    assert "5000 billion multiplications a second on one core, 8000 on all" in said


@pytest.mark.slow  # two processes that start JAX
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are not to be had one by one")
def test_the_machines_rate_is_of_one_core_and_of_all():
    core = sorted(os.sched_getaffinity(0))[0]
    one, every = roof.machine([core], 0.05).values()
    assert 0 < one < 1e13 and 0.2 < every / one < 5


def test_the_page_has_the_tables_of_the_file(tmp_path):
    root = Path(__file__).parents[1]
    text = (root / "docs" / "speed.md").read_text()
    assert page.block(root / "data" / "benchmarks" / "throughput.json") in text  # as --page docs/speed.md writes it
    file, target = tmp_path / "some.json", tmp_path / "page.md"
    row = {"network": "vgg16", "maps": "gradient", "photos": 5, "ms_a_photo": {"ours": 8.04}, "ratio": 0.8}
    results = {"data_set": [{**row, "ratio_spread": [0.7, 0.9]}], "in_memory": [], "roof": []}
    file.write_text(json.dumps(results))
    target.write_text("before\n<!-- from some.json -->\nold\n<!-- end -->\nafter\n")
    page.brought_up(target, file)
    said = (
        "| | vgg16 |\n|---|---|\n| photos | 5 |\n| gradient maps of a data set, times torch's | 0.80 (0.70 to 0.90) |\n"
    )
    said += "| ... ms a photo | 8.0 |\n\nGradient maps of a data set take 0.80 times as long as torch's on all cores.\n"
    assert target.read_text() == f"before\n<!-- from some.json -->\n\n{said}\n<!-- end -->\nafter\n"
    page.brought_up(target, file)
    assert target.read_text().count("photos | 5") == 1
    with pytest.raises(InputError, match=r"page\.md: has no lines '<!-- from other\.json -->'"):
        page.brought_up(target, file.rename(tmp_path / "other.json"))


def test_the_tables_have_a_row_for_each_share():
    share = {"share": 0.456}
    row = {"network": "vgg16", "maps": "gradient", "photos": 5, "ms_a_photo": {"ours": 80.4}, "ratio": 1.2}
    row |= {"ratio_spread": [1.1, 1.3], "share": {"ours": 0.71, "torch": 0.82}}
    occlusion = {**row, "network": "alexnet", "maps": "occlusion 32/16", "ratio": 0.2, "ratio_spread": [0.1, 0.3]}
    machine = {"multiplications_a_second, one core": 5e10, "multiplications_a_second, all cores": 8e10}
    roofs = [{"network": "vgg16", "dense": share, "gradient": share}]
    results = {"data_set": [row, occlusion], "in_memory": [], "roof": roofs, "machine": machine}
    first, words, last = page.tables(results)
    assert "| ... share of a large product's rate on all cores, ours and torch's | 0.71, 0.82 | |" in first
    assert "| occlusion 32/16 of 5 photos, times torch's | | 0.20 (0.10 to 0.30) |" in first and "| 80 | |" in first
    assert "alexnet's occlusion 32/16 maps take 0.20 times as long." in words and "50 billion" in words
    assert "| forward pass | 0.46 |" in last and "incremental | |" in last
