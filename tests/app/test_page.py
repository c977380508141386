"""The page in a real browser: paint, restore, compare, download; two visitors at once; what is wrong is told.

Run by ``make app-check``: Gradio and Playwright are no part of the tests' environment, and Chromium is Debian's.
"""

import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import jobs, pictures
from reddiff_jax.app.restoration import Loaded

pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium"),
    pytest.mark.filterwarnings("ignore"),  # Gradio's own
]

PRIOR = rd.gaussian_prior(jnp.zeros((1, 1, 1)), 0.3, rd.schedules.linear())
PATIENCE = 120_000  # milliseconds


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    from reddiff_jax.app import serving
    from reddiff_jax.app.limits import Limits

    folder, port = tmp_path_factory.mktemp("gradio"), serving.free_port("127.0.0.1", None)
    limits = Limits(pixels=100_000, seconds=300.0)
    blocks, visits = serving.launched(Loaded(PRIOR), folder, host="127.0.0.1", port=port, limits=limits)
    yield f"http://127.0.0.1:{port}"
    blocks.close()
    visits.end_all(20)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Opens the page as another visitor."""
    contexts = []

    def visit():
        contexts.append(browser.new_context(viewport={"width": 1200, "height": 1100}, accept_downloads=True))
        tab = contexts[-1].new_page()
        tab.goto(address, timeout=PATIENCE)
        tab.wait_for_selector("#restore", timeout=PATIENCE)
        return tab

    yield visit
    for context in contexts:
        context.close()


def _photo(folder: Path, name: str, seed: int, size: int = 48) -> Path:
    rows, columns = np.mgrid[:size, :size] / size
    phases = np.random.default_rng(seed).uniform(0, 6, 3)
    x = np.stack([np.sin(4 * rows + 3 * columns + phase) for phase in phases], axis=-1)
    pictures.write_picture(folder / name, (0.8 * x).astype(np.float32))
    return folder / name


def _open(tab, path: Path, said: str = "pixels.") -> None:
    if not tab.locator("#picture input[type=file]").count():  # another picture is open
        tab.locator("#picture button").first.click()
    tab.set_input_files("#picture input[type=file]", str(path))
    tab.wait_for_function(
        "said => document.querySelector('#status').innerText.includes(said)", arg=said, timeout=PATIENCE
    )


def _choose(tab, task: str) -> None:
    tab.click("#task input")
    tab.get_by_role("option", name=task).click()


def _wait(tab, said: str) -> str:
    tab.wait_for_function(
        "said => document.querySelector('#status').innerText.includes(said)", arg=said, timeout=PATIENCE
    )
    return tab.inner_text("#status")


def _paint(tab) -> None:
    tab.wait_for_timeout(2000)  # the editor draws the picture
    box = tab.locator("#editor canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x - 40, y)
    tab.mouse.down()
    for step in range(10):
        tab.mouse.move(x - 40 + 8 * step, y + 3 * step)
    tab.mouse.up()
    tab.wait_for_timeout(1000)


def _download(tab, name: str, folder: Path) -> Path:
    with tab.expect_download(timeout=PATIENCE) as download:
        tab.locator("#download tr").nth(_place(tab, name)).locator("a").click()
    download.value.save_as(folder / name)
    return folder / name


def _place(tab, name: str) -> int:
    rows = tab.locator("#download tr").all_inner_texts()
    return next(i for i, text in enumerate(rows) if name in text.replace("\n", ""))


def test_a_scratch_is_painted_restored_compared_and_downloaded(visit, tmp_path):
    photo = _photo(tmp_path, "scratched.png", 0)
    tab = visit()
    _open(tab, photo, "48 x 48")
    _paint(tab)
    tab.click("#restore")
    said = _wait(tab, "restored.")
    assert "white marks the hole" in said
    assert "/" not in said.split("white marks")[0]  # no folders of the server
    assert tab.locator("#slider img").count() >= 2
    words = tab.input_value("#command textarea")
    assert (
        words
        == "reddiff-jax restore scratched.png --task inpaint --mask scratched_mask.png --hole white --out restored"
    )
    restored, mask = (_download(tab, name, tmp_path / "got") for name in ("scratched.png", "scratched_mask.png"))
    hole = pictures.read_uint8(mask)[..., 0] > 0
    assert 0.01 < hole.mean() < 0.6
    options = jobs.Options(task="inpaint", mask=mask, hole=rd.masks.Hole.WHITE)
    jobs.restore([photo], PRIOR, out=tmp_path / "out", options=options)
    assert restored.read_bytes() == (tmp_path / "out" / "scratched.png").read_bytes()


def test_two_visitors_at_once_get_each_their_own(visit, tmp_path):
    tabs = {}
    for seed, name in enumerate(("one.png", "two.png")):
        photo = _photo(tmp_path, name, seed)
        tabs[name] = visit()
        _open(tabs[name], photo)
        _choose(tabs[name], "Remove noise")
    for tab in tabs.values():
        tab.click("#restore")
    for name, tab in tabs.items():
        _wait(tab, "restored.")
        got = _download(tab, name, tmp_path / "got")
        jobs.restore([tmp_path / name], PRIOR, out=tmp_path / "out", options=jobs.Options(task="denoise"))
        assert got.read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_what_is_wrong_is_told_in_the_page(visit, tmp_path):
    tab = visit()
    tab.click("#restore")
    _wait(tab, "open a picture first.")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n not a picture")
    _open(tab, broken, "broken.png")
    assert tab.locator("#status .wrong").count() == 1
    assert str(tmp_path) not in tab.inner_text("#status")
    _open(tab, _photo(tmp_path, "large.png", 0, size=400), "the page takes 100,000 at most")
    _open(tab, _photo(tmp_path, "<b>bold.png", 0), "48 x 48")
    assert tab.locator("#status b").count() == 0  # names are shown, not obeyed
    tab.click("#restore")
    assert "--" not in _wait(tab, "paint over them")  # nothing was painted
    _choose(tab, "Sharpen")
    tab.fill("#kernel textarea, #kernel input", "/etc/shadow")
    tab.click("#restore")
    _wait(tab, "describes no blur; say gaussian:SIGMA")


def test_stop_ends_a_restoration_and_the_next_one_begins(visit, tmp_path):
    tab = visit()
    _open(tab, _photo(tmp_path, "long.png", 0, size=96))
    _choose(tab, "Enlarge 2 times")
    tab.click("#restore")
    tab.wait_for_function("document.querySelector('#status progress') !== null", timeout=PATIENCE)
    tab.click("#stop")
    assert "restored" not in _wait(tab, "stopped.")
    _choose(tab, "Remove noise")
    tab.click("#restore")
    assert "stopped" not in _wait(tab, "restored.")


def test_a_double_click_restores_once_and_another_picture_clears_what_is_shown(visit, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(
        jobs, "restore", lambda *given, _do=jobs.restore, **named: begun.append(1) or _do(*given, **named)
    )
    tab = visit()
    _open(tab, _photo(tmp_path, "first.png", 0))
    _choose(tab, "Remove noise")
    tab.wait_for_selector("#opened img", timeout=PATIENCE)
    tab.dblclick("#restore")
    _wait(tab, "restored.")
    tab.wait_for_timeout(2000)
    assert begun == [1]
    assert "first.png" in tab.input_value("#command textarea")
    _open(tab, _photo(tmp_path, "second.png", 1, size=40), "40 x 40")
    assert tab.input_value("#command textarea") == ""
    assert tab.locator("#slider img").count() == 0
    assert "restored." not in tab.inner_text("#status")
    _choose(tab, "Fill in")  # the editor was hidden when the picture was opened
    _paint(tab)
    tab.click("#restore")
    assert "second_mask.png: white marks the hole" in _wait(tab, "restored.")


def test_who_waits_is_told_and_leaves_by_stop(visit, tmp_path, monkeypatch):
    import threading

    held = threading.Event()
    monkeypatch.setattr(
        jobs, "restore", lambda *given, _do=jobs.restore, **named: held.wait(60) and _do(*given, **named)
    )
    tabs = [visit(), visit()]
    for number, tab in enumerate(tabs):
        _open(tab, _photo(tmp_path, f"{number}.png", number))
        _choose(tab, "Remove noise")
        tab.click("#restore")
        tab.wait_for_timeout(1500)
    _wait(tabs[1], "waiting: 1 before you.")
    tabs[1].click("#stop")
    _wait(tabs[1], "stopped.")
    tabs[0].click("#stop")
    _wait(tabs[0], "stopping...")
    held.set()
    _wait(tabs[0], "stopped.")


def test_samples_show_their_spread(visit, tmp_path):
    tab = visit()
    _open(tab, _photo(tmp_path, "noisy.png", 0, size=32))
    _choose(tab, "Remove noise")
    tab.get_by_text("More", exact=True).click()
    tab.fill("#samples input[type=number]", "2")
    tab.keyboard.press("Tab")
    tab.click("#restore")
    _wait(tab, "restored.")
    tab.wait_for_selector("#drawn img", timeout=PATIENCE)
    shown = tab.locator("#drawn").inner_text()
    assert [part in shown for part in ("sample 1", "sample 2", "mean", "spread: black 0, white ")] == [True] * 4
    assert tab.locator("#drawn .gallery-item, #drawn .thumbnail-item").count() in (4, 8)  # no panel among them
    names = "".join(tab.locator("#download").all_inner_texts())
    assert all(part in names.replace("\n", "") for part in ("noisy_mean", "noisy_std", "noisy_0"))


def test_the_page_is_for_this_machine_alone():
    from typer.testing import CliRunner

    from reddiff_jax.cli import app

    result = CliRunner().invoke(app, ["app", "--host", "0.0.0.0"])
    assert result.exit_code == 2
    assert "host is '0.0.0.0', which other machines may reach; say --public" in result.stderr
