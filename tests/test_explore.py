"""The live page: who may ask, what a session answers, and the page itself in a real browser."""

import http.client
import io
import json
import os
import time
from contextlib import closing
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from localization.boxes import iou
from localization.datasets import load
from localization.explore import Session, only_inside, serve
from saliency import METHODS, InputError, load_network, logits, occlusion_maps, overlay
from saliency.faithfulness import energy_pointing_game
from saliency.methods import Options
from tests.chromium import Page, chromium

server = pytest.importorskip("localization.explore.server", reason="the extra explore is not installed")


@pytest.fixture(scope="module")
def net():
    return load_network("scenes_cnn")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    scenes = load("scenes", split="test", limit=2)
    for i, photo in enumerate(scenes.images):
        Image.fromarray(photo).resize((120 + 40 * i, 100)).save(folder / f"scene {i}.png")
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    Image.new("RGB", (30, 20), "red").save(secret)
    (folder / "out.png").symlink_to(secret)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"no photo" * 20)
    return only_inside(load("folder", folder), folder)


@pytest.fixture(scope="module")
def session(net, data):
    session = Session(net, data)
    yield session
    session.close()


@pytest.fixture(scope="module")
def running(session):
    running = server.start(session)
    yield running
    running.stop()


def finished(session, run):
    end = time.monotonic() + 120
    while len(run.made) < len(run.methods):
        assert time.monotonic() < end
        time.sleep(0.02)
    return {one.method: one for one in run.made}


OPTIONS = Options(patch=30, stride=22)
NAMES = ["gradient-max", "occlusion"]


def test_no_photo_outside_of_the_folder_is_named(session):
    assert [name for _, name in session.photos()] == ["scene 0.png", "scene 1.png"]


def test_a_run_gives_what_the_library_gives(session, net, tmp_path):
    run = session.start(1, "3", NAMES, OPTIONS)
    made, opened = finished(session, run), session.opened(1)
    for name in NAMES:
        expected = METHODS[name].maps(net, opened.x, target=[3], options=OPTIONS)[0]
        np.testing.assert_allclose(made[name].map, expected, rtol=1e-5, atol=1e-6)
        assert made[name].on_photo.shape == opened.pixels.shape[:2] and np.isfinite(made[name].box).all()
        shown = overlay(opened.pixels, made[name].map, preprocess=net.preprocess, boxes=made[name].box)
        np.testing.assert_array_equal(session.picture(run.number, name), shown)
        assert max(session.picture(run.number, name, 60).shape) == 60
    arrays = session.arrays(run.number)
    np.testing.assert_array_equal(arrays["occlusion"], made["occlusion"].map)
    assert arrays["target_name"] == "3" and arrays["patch"].tolist() == [30, 30] and arrays["boxes"].shape == (2, 4)


@pytest.mark.parametrize("fill", ["grey", "mean", "noise"])
def test_a_hidden_window_is_occlusions_own(session, net, fill):
    run = session.start(0, "", ["occlusion"], Options(patch=(30, 22), stride=(25, 19), fill=fill))
    opened = session.opened(0)
    found = occlusion_maps(
        net, opened.x, patch=(30, 22), stride=(25, 19), fill=fill, target=[run.target], score="logit"
    )
    rows, columns = run.windows.grid
    for row, column in ((0, 0), (1, 2), (rows - 1, columns - 1)):
        hidden = session.hidden(run.number, row, column)
        assert hidden["drop"] == pytest.approx(float(found.drops[0, row, column]), abs=1e-3)
        y, x = run.windows.starts[0][row], run.windows.starts[1][column]
        sx, sy = opened.placement.scale
        corners = np.array([x / sx, y / sy, min(x + 22, 96) / sx, min(y + 30, 96) / sy])
        np.testing.assert_allclose(hidden["window"], corners)
        seen = net.preprocess.normalise(hidden["image"][None])
        assert hidden["top"][0][0] == int(np.asarray(logits(net, seen)).argmax())


def test_a_drawn_box_is_measured(session):
    run = session.start(0, "rank:2", NAMES, OPTIONS)
    made = finished(session, run)
    box = np.array([70.0, 80, 10, 20])  # drawn from its lower right corner
    for row in session.drawn(run.number, box.tolist()):
        one = made[row["method"]]
        assert row["iou"] == pytest.approx(float(iou(np.array([10, 20, 70, 80]), one.box)))
        energy = energy_pointing_game(one.on_photo[None], np.array([[10.0, 20, 70, 80]]))[0]
        assert row["energy"] == pytest.approx(float(energy)) and row["true"] is None


def test_a_newer_run_ends_the_one_before(session):
    first = session.start(0, "", ["rise", "occlusion", "gradient-max"], OPTIONS)
    second = session.start(1, "", ["gradient-max"], OPTIONS)
    finished(session, second)
    assert first.stopped and len(first.made) < 3


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda s: s.opened(7), "there is no photo 7"),
        (lambda s: s.opened(-1), "there is no photo -1"),
        (lambda s: s.start(0, "cat", NAMES, OPTIONS), "target must be rank:K"),
        (lambda s: s.start(0, "", ["magic"], OPTIONS), "choose one or more methods, not magic"),
        (lambda s: s.start(0, "", [], OPTIONS), "choose one or more methods, not none"),
        (lambda s: s.start(0, "", NAMES, Options(patch=500)), "patch must be 1 to 96"),
        (lambda s: s.run(99), "there is no run 99"),
        (lambda s: s.upload(b"GIF89a", "x.gif"), "x.gif: "),
    ],
)
def test_what_cannot_be_done_is_said(session, call, says):
    with pytest.raises(InputError, match=says):
        call(session)


def ask(url, path="", method="GET", body=None, headers=()):
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)) as connection:
        connection.request(method, parts.path + path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "about"), ("POST", "runs"), ("POST", "photos")])
def test_others_are_refused(running, headers, method, path):
    status, body, _ = ask(running.url, path, method, b"{}" if method == "POST" else None, headers)
    assert status == 403 and body.startswith(b"refused: ")


def test_without_the_token_nothing_is_told(running):
    root = running.url.rsplit("/", 2)[0]
    for path in ("/", "/about", f"/{'a' * 32}/", "/photos/0/image", running.url.rsplit("/", 2)[1][:-1] + "/"):
        assert ask(root + path if path.startswith("/") else f"{root}/{path}")[0] == 403
    assert urlsplit(running.url).hostname == "127.0.0.1" and len(running.url.rsplit("/", 2)[1]) >= 32


def test_no_way_leads_out_of_the_folder(running, data):
    for path in (
        "photos/../../etc/passwd",
        "photos/%2e%2e%2f%2e%2e%2fetc%2fpasswd/image",
        "photos/-1/image",
        "../about",
    ):
        assert ask(running.url, path)[0] in (400, 403, 404)
    _, body, _ = ask(running.url, "about")
    about = json.loads(body)
    assert "/" not in "".join(photo["name"] for photo in about["photos"])
    for name in ("tmp", "elsewhere", "secret"):
        assert name not in body.decode()


def test_the_page_asks_nobody_else(running):
    status, body, headers = ask(running.url)
    assert (
        status == 200 and b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"") and b"https://" not in body
    )
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY" and headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer" and "access-control-allow-origin" not in headers


def photo_bytes(kind="PNG", size=(60, 40)):
    buffer = io.BytesIO()
    Image.new("RGB", size, "blue").save(buffer, kind)
    return buffer.getvalue()


def test_uploads_have_limits(running, monkeypatch):
    status, body, _ = ask(running.url, "photos?name=..%2F..%2Fmy%20cat.jpg", "POST", photo_bytes("JPEG"))
    found = json.loads(body)
    assert status == 200 and found["photos"][-1] == {"number": found["number"], "name": "my cat.jpg"}
    assert ask(running.url, f"photos/{found['number']}")[0] == 200
    for data in (b"", b"<svg/>", b"%!PS-Adobe", photo_bytes()[:60]):
        status, body, _ = ask(running.url, "photos?name=x.png", "POST", data)
        assert status == 400 and json.loads(body)["problem"].startswith("x.png: ")
    monkeypatch.setattr("saliency.photos.MAX_PIXELS", 1000)
    status, body, _ = ask(running.url, "photos?name=x.png", "POST", photo_bytes())
    assert status == 400 and "larger than 1,000 pixels" in json.loads(body)["problem"]
    monkeypatch.setattr(server, "MAX_BYTES", 100)
    assert ask(running.url, "photos?name=x.png", "POST", photo_bytes("BMP"))[0] == 413
    assert ask(running.url, "runs", "POST", b" " * 100_000)[0] == 413


@pytest.mark.parametrize("body", [b"", b"[]", b'{"photo": "x"}', b'{"photo": 0, "methods": ["occlusion"], "patch": 0}'])
def test_malformed_requests_are_refused_in_words(running, body):
    status, said, _ = ask(running.url, "runs", "POST", body, {"Content-Type": "application/json"})
    assert status == 400 and json.loads(said)["problem"]


def test_downloads_are_the_maps(running, session):
    run = session.start(0, "", NAMES, OPTIONS)
    made = finished(session, run)
    _, body, headers = ask(running.url, f"runs/{run.number}/maps")
    assert headers["content-disposition"] == 'attachment; filename="scene_0-maps.npz"'
    with np.load(io.BytesIO(body)) as found:
        np.testing.assert_array_equal(found["gradient-max"], made["gradient-max"].map)
    _, body, _ = ask(running.url, f"runs/{run.number}/overlay?method=occlusion")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(body))), session.picture(run.number, "occlusion"))


def test_serve_refuses_what_it_cannot_serve(net, data):
    with pytest.raises(InputError, match="net must be a Network"):
        serve("vgg16", data)
    with pytest.raises(InputError, match="data must be a Dataset"):
        serve(net, [])


@pytest.mark.slow
def test_the_page_in_a_browser(running, tmp_path):
    """Load, choose, hover, drag, download; the keyboard alone; 390 px wide; and nothing said on the console."""
    if not chromium():
        pytest.skip("no Chromium on this machine")
    page, shots = Page(tmp_path / "profile"), os.environ.get("SALBOX_SCREENSHOTS")
    try:
        page.open(running.url)
        page.until("document.querySelectorAll('#top button').length === 5")
        page.evaluate("const s = document.getElementById('photo'); s.value = '1'; s.dispatchEvent(new Event('change'))")
        page.until("document.querySelector('#own b').textContent === 'scene 1.png'")
        page.evaluate("document.getElementById('patch').value = 24; document.getElementById('stride').value = 12;")
        page.evaluate("document.querySelectorAll('#top button')[1].click(); document.getElementById('make').click()")
        page.until("document.getElementById('said').textContent.startsWith('Done: 3 maps')")
        occlusion = "figure[data-method=occlusion] .view"
        measured = "[...document.querySelectorAll('.measured dd')].filter(one => one.textContent !== '–').length"

        left, top, width, height = page.place(occlusion)
        page.mouse("mouseMoved", left + width / 2, top + height / 2)
        page.until("!!document.querySelector('.hidden-photo')")
        said = "document.querySelector('.under b').textContent"
        assert page.evaluate(said).startswith(("still ", "becomes "))
        page.mouse("mouseMoved", left + 2, top + 2)
        page.until("document.querySelectorAll('figure[data-method=occlusion] .view rect').length === 4")

        middle = f"document.querySelector({occlusion!r}).getBoundingClientRect().top + scrollY"
        still = page.evaluate(middle)
        page.mouse("mouseMoved", left + width * 0.2, top + height * 0.3)
        page.mouse("mousePressed", left + width * 0.2, top + height * 0.3, down=True)
        page.mouse("mouseMoved", left + width * 0.5, top + height * 0.5, down=True)
        page.until(f"{measured} === 6")
        assert page.evaluate(middle) == still  # what appears while one draws moves no map
        page.mouse("mouseMoved", left + width * 0.7, top + height * 0.9, down=True)
        page.mouse("mouseReleased", left + width * 0.7, top + height * 0.9)
        page.until(f"{measured} === 6")
        corners = [int(page.evaluate(f"document.getElementById('{name}').value")) for name in ("x0", "y0", "x1", "y1")]
        np.testing.assert_allclose(corners, [32, 30, 112, 90], atol=2)

        page.evaluate("document.getElementById('npz').click()")
        page.evaluate("document.querySelector('figure[data-method=grad-cam] a').click()")
        end = time.monotonic() + 30
        while {one.name for one in page.downloads.iterdir()} != {"scene_1-maps.npz", "scene_1-grad-cam.png"}:
            assert time.monotonic() < end, list(page.downloads.iterdir())
            time.sleep(0.1)
        with np.load(page.downloads / "scene_1-maps.npz") as found:
            assert set(found) > {"gradient-max", "grad-cam", "occlusion"}
        with Image.open(page.downloads / "scene_1-grad-cam.png") as picture:
            assert picture.size == (160, 100)
        if shots:
            page.screenshot(f"{shots}/explore-1280.png")

        page.resize(390, 844)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        if shots:
            page.screenshot(f"{shots}/explore-390.png")

        # by keys alone: from the photo's list down to the button, then an arrow on occlusion's map
        page.evaluate("document.getElementById('photo').focus()")
        page.press("ArrowUp")
        page.until("document.querySelector('#own b').textContent === 'scene 0.png'")
        for _ in range(60):
            page.press("Tab")
            if page.evaluate("document.activeElement.id") == "make":
                break
        assert page.evaluate("document.activeElement.id") == "make"
        page.press("Enter")
        page.until("document.getElementById('said').textContent.startsWith('Done: 3 maps')")
        for _ in range(30):
            page.press("Tab")
            if page.evaluate(
                "(document.activeElement.getAttribute('aria-label') || '').startsWith('Map by occlusion')"
            ):
                break
        page.press("ArrowRight")
        page.until("!!document.querySelector('.hidden-photo')")
        first = page.evaluate("document.querySelector('.hidden-photo').src")
        page.press("ArrowRight")
        page.press("ArrowDown")
        page.until(f"document.querySelector('.hidden-photo').src !== {first!r}")
        for name, value in zip(("x0", "y0", "x1", "y1"), (10, 10, 60, 70)):
            page.evaluate(f"document.getElementById('{name}').focus()")
            page.call("Input.insertText", text=str(value))
        page.until(f"{measured} === 6")
        page.evaluate("document.querySelector('#own .view').focus()")
        page.press("Escape")
        page.until(f"{measured} === 0")
        assert not page.said
    finally:
        if shots:
            page.screenshot(f"{shots}/explore-last.png")
        page.close()
