"""The commands beside `restore`: help, `demo`, `evaluate`, `info`."""

import csv
import json
import re

import numpy as np
import pytest
from cli_outputs import pixels

import reddiff_jax as rd
from reddiff_jax import jobs, pictures
from reddiff_jax.cli._common import progress_bar
from reddiff_jax.jobs.demonstration_page import NEXT


@pytest.mark.parametrize("command", ["demo", "measure", "restore", "evaluate", "train", "convert", "gallery", "info"])
def test_every_command_has_help(invoke, command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert command in invoke().stdout


def test_help_of_restore_says_the_range_of_sigma(invoke):
    assert "[-1, 1]" in invoke("restore", "--help").stdout


@pytest.mark.slow
def test_a_demonstration_solves_each_task_in_one_call(prior_folder, tmp_path):
    prior = rd.load_prior(prior_folder)
    shows = [
        jobs.Show(prior, "tiny", jobs.sample_photos(), 32, [("sr4", 0.05)]),
        jobs.Show(prior, "tiny", jobs.sample_emoji()[:2], 32, [("sr4", 0.05)], 3, {"sigma_max": 9.0}, "emoji"),
    ]
    result, emoji = jobs.demonstrate(shows, tmp_path, steps=2, full=True)
    assert result.methods == ("A+ y", "noise-aware RED-diff", "DiffPIR")
    assert [len(scores) for scores in result.scores.values()] == 3 * [len(result.names)] == 3 * [6]
    assert len(list((tmp_path / "emoji" / "restored" / "sr4").iterdir())) == len(emoji.names) == 2
    assert (result.settings.num_steps, emoji.settings.num_steps) == (2, 3)
    assert (result.settings.sigma_max, emoji.settings.sigma_max) == (1.0, 9.0)
    assert pixels(tmp_path / "panel.png").shape[0] > 2 * 192
    assert pixels(tmp_path / "sr4.png").shape[0] > 6 * 128
    assert json.loads((tmp_path / "metrics.json").read_text())["tasks"][0]["task"] == "sr4"


@pytest.mark.slow
def test_gallery_draws_the_tasks_that_are_asked_for(invoke, tmp_path):
    result = invoke("gallery", "--task", "sr4", "--task", "inpaint_random", "--size", 32, "--out", tmp_path / "drawn")
    assert result.exit_code == 0, result.output
    drawn = pixels(tmp_path / "drawn" / "gallery.png")
    assert drawn.shape[1] > 6 * 128  # two tasks side by side, three pictures each


def test_gallery_names_an_unknown_task(invoke, tmp_path):
    result = invoke("gallery", "--task", "sharpen", "--out", tmp_path / "drawn")
    assert result.exit_code == 2
    assert "sharpen" in result.stderr


@pytest.mark.slow
def test_demo_writes_panels_pictures_and_metrics(invoke, prior_folder, tmp_path):
    out = tmp_path / "demo"
    result = invoke("demo", "--prior", prior_folder, "--out", out, "--steps", 2, "--size", 32)
    assert result.exit_code == 0, result.output
    metrics = json.loads((out / "metrics.json").read_text())
    names = [task["task"] for task in metrics["tasks"]]
    assert names == ["inpaint_freeform", "inpaint_random", "sr4", "deblur_gauss61"]
    for name in names:
        assert len(list((out / "restored" / name).glob("*.png"))) == 1
        assert name in result.stdout
    # The first picture is named before the table, for there is something to look at while the rest is restored.
    assert result.output.index(f"first picture: {out / 'inpaint_freeform.png'}") < result.output.index("PSNR")
    assert all(task["compile_seconds"] > 0 and task["solve_seconds"] > 0 for task in metrics["tasks"])
    assert pixels(out / "panel.png").shape[0] > 4 * 192


@pytest.mark.slow
def test_demos_page_shows_what_is_there_and_commands_that_exist(invoke, prior_folder, tmp_path):
    shows = [
        jobs.Show(rd.load_prior(prior_folder), "tiny", jobs.sample_photos(), 32, [("sr4", 0.05), ("denoise", 0.1)])
    ]
    demonstration = jobs.demonstrate(shows, tmp_path, steps=2)
    next(demonstration)
    assert 'http-equiv="refresh"' in (tmp_path / "index.html").read_text()
    next(demonstration)
    page = (tmp_path / "index.html").read_text()
    assert "refresh" not in page
    addresses = [address for _, address in re.findall(r'(href|src)="([^"]+)"', page)]
    assert {"panel.png", "./sr4.png", "./denoise.png"} <= set(addresses)
    assert all((tmp_path / address).is_file() for address in addresses)


@pytest.mark.parametrize("command", [command for _, command in NEXT])
def test_commands_that_the_demo_advises_are_complete(invoke, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    result = invoke(*command.split(), "--help")
    assert result.exit_code == 0
    if command.startswith("restore"):
        # Nothing is missing but the picture.
        assert "photo.jpg" in invoke(*command.split()).stderr


def test_sample_emoji_are_of_held_out_codepoints_and_credited():
    data = pytest.importorskip("benchmarks.emoji64_data")
    paths = jobs.sample_emoji()
    assert paths
    assert all(data.is_held_out(path.stem.split("_")[0]) for path in paths)
    credit = (paths[0].parent / "CREDITS.md").read_text()
    assert all(f"*_{path.stem.split('_')[1]}.png" in credit for path in paths)


def test_sample_photos_are_credited_and_small():
    paths = jobs.sample_photos()
    assert len(paths) == 6
    credits = (paths[0].parent / "CREDITS.md").read_text()
    assert all(f"`{path.name}`" in credits for path in paths)
    assert all(pictures.picture_size(path) == (256, 256) for path in paths)
    assert sum(path.stat().st_size for path in paths) < 1.5e6


def test_evaluate_prints_a_table_and_writes_csv(invoke, photos, tmp_path, rng):
    (tmp_path / "restored").mkdir()
    for path in sorted(photos.iterdir()):
        noisy = pictures.read_picture(path) + 0.1 * rng.standard_normal((32, 32, 3))
        pictures.write_picture(tmp_path / "restored" / path.name, noisy)
    result = invoke("evaluate", tmp_path / "restored", "--reference", photos, "--csv", tmp_path / "scores.csv")
    assert result.exit_code == 0, result.output
    assert "PSNR" in result.stdout
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == ["a", "b", "c"]
    assert all(24 < float(row["psnr"]) < 28 for row in rows)  # 0.1 of a range of 2 is 26 dB


def test_evaluate_without_lpips_says_so(invoke, photos, monkeypatch):
    def missing():
        raise ImportError

    monkeypatch.setattr("reddiff_jax.metrics.load_lpips", missing)
    result = invoke("evaluate", photos, "--reference", photos)
    assert result.exit_code == 0, result.output
    assert "LPIPS left out" in result.stdout
    assert "inf" in result.stdout


def test_several_samples_are_paired_with_their_original(photos, tmp_path):
    (tmp_path / "restored").mkdir()
    for name in ("a_0", "a_1", "a_mean", "a_std", "a_panel", "b"):
        pictures.write_picture(tmp_path / "restored" / f"{name}.png", np.zeros((32, 32, 3)))
    pairs = jobs.pair(tmp_path / "restored", photos)
    assert [(name, original.stem) for name, _, original in pairs.pairs] == [
        ("a_0", "a"),
        ("a_1", "a"),
        ("a_mean", "a"),
        ("b", "b"),
    ]
    assert [path.stem for path in pairs.without_restored] == ["c"]


def test_info_gives_an_overview_in_a_few_lines(invoke):
    result = invoke("info")
    assert result.exit_code == 0, result.output
    for part in ("jax", "devices", "photo", "inpaint_freeform", "deblur_motion", "noise_aware", "info tasks"):
        assert part in result.stdout
    assert len(result.stdout.splitlines()) <= 16


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("tasks", ("inpaint_freeform", "fill in free-form strokes", "kernel", "deblur")),
        ("settings", ("noise_aware's settings", "reddiff's settings", "super_resolution")),
        ("versions", ("jax", "orbax-checkpoint")),
        ("prior", ("num_parameters", "photo")),
    ],
)
def test_info_tells_more_of_what_is_named(invoke, what, parts):
    result = invoke("info", what)
    assert result.exit_code == 0, result.output
    assert all(part in result.stdout for part in parts)


@pytest.mark.slow
def test_info_shows_the_card_of_a_prior_in_a_folder(invoke, prior_folder):
    assert "num_parameters" in invoke("info", prior_folder).stdout


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_said_meanwhile_stands_above_the_bar_on_a_terminal(monkeypatch, capsys, terminal):
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
    with progress_bar("restoring") as update:
        update(0.5, "a picture")
        update.console.print("said")
    written = capsys.readouterr()
    assert ("said\n" in written.err, "said\n" in written.out) == (terminal, not terminal)
    assert ("a picture" in written.err) == terminal
