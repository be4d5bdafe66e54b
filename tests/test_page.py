"""The report in a real browser: it loads, everything on it can be clicked, and nothing is said on the console."""

import io
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.figure import Figure as Plot
from PIL import Image

from saliency.report import Figure, InspectedImage, Section, Table, few_colours, jpeg, png, write_page
from tests.chromium import Page

CLICK = """<script>
const said = [], hostile = () => { throw new Error("a name from the data was run") };
window.alert = hostile;
addEventListener("error", event => said.push(event.message || "a part did not load"), true);
for (const name of ["error", "warn"]) console[name] = (...words) => said.push(words.join(" "));
addEventListener("load", () => setTimeout(() => {
  const every = selector => [...document.querySelectorAll(selector)];
  const frames = () => every("#look .frame");
  for (const head of every("th")) { head.click(); head.click(); }
  const order = document.getElementById("order");
  for (const option of [...order.options]) { order.value = option.value; order.dispatchEvent(new Event("change")); }
  for (const box of every("input[type=checkbox]")) { box.click(); box.click(); }
  let seen = 0;
  for (const button of every("#thumbs button")) {
    button.click();
    seen += frames().length;
    for (const frame of frames()) {
      const {left, top} = frame.getBoundingClientRect();
      frame.dispatchEvent(new PointerEvent("pointermove", {clientX: left + 3, clientY: top + 3}));
    }
  }
  document.title = `${said.length} errors, ${seen} panes. ${said.join("; ")}`;
}, 0));
</script>"""


@pytest.fixture
def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium on this machine")
    return found


def test_the_page_can_be_clicked_through(browser, tmp_path, rng):
    name = "<script>alert(1)</script>\"'"
    photo = rng.integers(0, 256, (30, 40, 3), np.uint8)
    maps = {name: rng.random((12, 16)), "signed": rng.normal(size=(12, 16)), "nothing": np.zeros((12, 16))}
    boxes = {f"{name} · linear map": (np.array([1.0, 2, 20, 22]), 0.6), "signed · heuristic": (np.full(4, np.nan), 0.0)}
    images = [
        InspectedImage(name, name, jpeg(photo, 40), (30, 40), np.array([[3.0, 4, 15, 20]]), own, boxes)
        for own in (maps, maps, {})
    ]
    table = Table((name, "figure"), [(name, 0.5), ("b", None), ("c", 2)], caption=name, best=0)
    page = tmp_path / "page.html"
    write_page(page, name, name, [Section(name, name, [table], [Figure(jpeg(photo, 40), name)])], {name: name}, images)
    html = page.read_text()
    page.write_text(html.replace("<head>", "<head>" + CLICK, 1))
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    flags += f" --virtual-time-budget=5000 --dump-dom --user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [browser, *flags.split(), page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    # a pane for the photo and one a map; without maps, the photo and one a box
    assert "<title>0 errors, 11 panes. </title>" in done.stdout


def test_a_table_of_costs_fits_a_phone(browser, tmp_path):
    columns = ("method", "forward", "backward", "saved", "s")
    costs = [
        ("gradient-max", 1, 1, 0.0, 12.86),
        ("layers-max(layer-cam)", 15, 15, 0.0, 0.93),
        ("rise", 4000, 0, 0.0, 9.9),
    ]
    write_page(tmp_path / "page.html", "Costs", "", [Section("Costs", "", [Table(columns, costs, decimals=2)])])
    page = Page(tmp_path / "profile", 390, 800)
    try:
        page.open((tmp_path / "page.html").as_uri())
        shown = "document.querySelector('.scroll')"
        assert page.evaluate(f"{shown}.scrollWidth") <= page.evaluate(f"{shown}.clientWidth")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    finally:
        page.close()


def test_a_chart_of_few_colours_is_smaller_and_looks_the_same(rng):
    plot = Plot(figsize=(4, 4))
    axes = plot.add_subplot()
    axes.imshow(rng.normal(size=(12, 12)), cmap="RdBu")
    for row, column in np.ndindex(12, 12):
        axes.text(column, row, f"{row / 7:.2f}", fontsize=5)
    whole = png(plot)
    small = few_colours(whole)
    assert len(small) < 0.5 * len(whole) and few_colours(small) == few_colours(few_colours(small))
    before, after = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), int) for one in (whole, small))
    assert before.shape == after.shape and np.abs(before - after).mean() < 3
