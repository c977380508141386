"""Priors from and to a hub: fetched and converted once, read offline after that, and every failure is one line."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from hub_server import serving

import reddiff_jax as rd
from reddiff_jax import converting, hub, io
from reddiff_jax.hub.fetching import wanted_files
from reddiff_jax.nets import DiffusersUNet
from tests.convert.checkpoint_files import write_safetensors
from tests.convert.state_dicts import state_dict

pytest.importorskip("huggingface_hub")
CONFIG = {
    "_class_name": "UNet2DModel",
    "block_out_channels": [8],
    "down_block_types": ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "add_attention": False,
}
NET = DiffusersUNet(**{name: tuple(v) if isinstance(v, list) else v for name, v in CONFIG.items() if name[0] != "_"})
SCHEDULER = {"_class_name": "DDPMScheduler", "num_train_timesteps": 50}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    (folder / "README.md").write_text("a model\n")
    write_safetensors(folder / "diffusion_pytorch_model.safetensors", state_dict(NET))
    return folder


@pytest.fixture(scope="module")
def converted(folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "prior"
    converting.convert(folder, out)
    return out


@pytest.fixture
def server(monkeypatch, tmp_path):
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("REDDIFF_JAX_CACHE", str(tmp_path / "cache"))
        yield server


def same(prior, folder: Path) -> bool:
    return all(map(np.array_equal, jax.tree.leaves(prior), jax.tree.leaves(io.load_prior(folder))))


# ---- what is fetched


@pytest.mark.slow
def test_a_folder_of_diffusers_is_converted_once_and_then_read_offline(server, folder, converted, monkeypatch):
    server.add("me/tiny", folder)
    assert same(rd.load_prior("hf:me/tiny"), converted)
    card = io.read_card(hub.find_prior("hf:me/tiny"))
    assert (card["name"], card["source"]["hub"], card["source"]["license"]) == ("tiny", "hf:me/tiny", "cc-by-4.0")
    assert card["source"]["commit"] == "1" * 40
    server.asked.clear()
    assert same(rd.load_prior("hf:me/tiny"), converted)
    assert server.asked == ["GET /api/models/me/tiny"]  # only where main is
    server.asked.clear()
    assert same(rd.load_prior("hf:me/tiny", local_files_only=True), converted)
    assert same(rd.load_prior("hf:me/tiny", revision="1" * 40), converted)
    assert server.asked == []
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    assert same(rd.load_prior("hf:me/tiny"), converted)


def test_another_commit_is_another_prior(server, folder):
    repository = server.add("me/tiny", folder)
    first = hub.find_prior("hf:me/tiny")
    repository.commit = "3" * 40
    second = hub.find_prior("hf:me/tiny")
    assert (first.name, second.name) == ("1" * 40, "3" * 40)


@pytest.mark.slow
def test_a_prior_of_this_package_is_taken_as_it_is(server, converted):
    server.add("me/own", converted)
    assert same(rd.load_prior("hf:me/own"), converted)
    assert hub.licence_of(hub.find_prior("hf:me/own", local_files_only=True)) == "cc-by-4.0"


def test_nothing_stays_of_a_download(server, folder, tmp_path):
    server.add("me/tiny", folder)
    hub.find_prior("hf:me/tiny")
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["priors"]


def test_the_command_converts_from_a_hub_and_says_the_licence(server, folder, converted, tmp_path):
    from typer.testing import CliRunner

    from reddiff_jax.cli import app

    server.add("me/tiny", folder)
    result = CliRunner().invoke(app, ["convert", "hf:me/tiny", str(tmp_path / "out"), "--revision", "main"])
    assert result.exit_code == 0, result.output
    assert "licence: cc-by-4.0" in result.stdout
    assert same(io.load_prior(tmp_path / "out"), converted)


def test_one_file_of_a_repository_is_converted_with_options(server, folder, converted, tmp_path):
    from reddiff_jax.nets import UNet

    net = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1,), middle_attention=False)
    (tmp_path / "files" / "sub").mkdir(parents=True)
    write_safetensors(tmp_path / "files" / "sub" / "model.safetensors", state_dict(net))
    server.add("me/files", tmp_path / "files")
    card = hub.convert("hf:me/files/sub/model.safetensors", tmp_path / "out", schedule="linear")
    assert (card["name"], card["source"]["hub"]) == ("model", "hf:me/files/sub/model.safetensors")
    with pytest.raises(hub.HubError, match=r"hf:me/files/no.pt is not there; the repository has sub/model\.safe"):
        hub.convert("hf:me/files/no.pt", tmp_path / "other")
    with pytest.raises(hub.HubError, match="is one file; convert it first: reddiff-jax convert hf:me/files/sub"):
        rd.load_prior("hf:me/files/sub/model.safetensors")


MODEL = "diffusion_pytorch_model"


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["config.json", f"{MODEL}.bin", f"{MODEL}.safetensors", "README.md"], ["config.json", f"{MODEL}.safetensors"]),
        (["config.json", f"{MODEL}.bin", "flax_model.msgpack"], ["config.json", f"{MODEL}.bin"]),
        (["config.json", f"{MODEL}.safetensors", f"{MODEL}.fp16.safetensors"], ["config.json", f"{MODEL}.safetensors"]),
        (
            ["unet/config.json", f"unet/{MODEL}-00001-of-00002.safetensors", f"unet/{MODEL}.safetensors.index.json"],
            ["unet/config.json", f"unet/{MODEL}-00001-of-00002.safetensors", f"unet/{MODEL}.safetensors.index.json"],
        ),
        (["card.json", "weights/a", "weights/../../b", "config.json"], ["card.json", "weights/a"]),
        (["pytorch_model.bin", "README.md"], []),
    ],
    ids=["safetensors", "bin", "rounded", "parts", "own", "neither"],
)
def test_only_the_files_that_a_prior_is_made_of_are_fetched(names, wanted):
    assert wanted_files(names) == wanted


def test_a_rounded_copy_is_fetched_if_it_is_asked_for():
    names = ["config.json", f"{MODEL}.safetensors", f"{MODEL}.fp16.safetensors"]
    assert f"{MODEL}.fp16.safetensors" in wanted_files(names, "fp16")


# ---- what fails


FAILURES = {
    "missing": ("hf:me/nothing", {}, r"hf:me/nothing is not at http.*, or private: check the name, or log in"),
    "gated": ("hf:me/tiny", {"gated": True}, r"hf:me/tiny is gated: accept its terms at http.*/me/tiny and log in"),
    "wrong weights": (
        "hf:me/tiny",
        {"wrong": "safetensors"},
        r"^diffusion_py.* of hf:me/tiny is not what the hub lists",
    ),
    "wrong settings": (
        "hf:me/tiny",
        {"wrong": "json"},
        r"config\.json of hf:me/tiny is not what the hub lists \(another",
    ),
    "no name": ("hf:tiny", {}, "hf:tiny is no name of a repository: it is hf:owner/name"),
    "odd name": ("hf:me/ti ny", {}, "hf:me/ti ny is no name of a repository|is not at"),
    "path": ("hf:me/../x", {}, "is no name of a repository"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_a_hub_does_not_give_is_one_line(name, server, folder, tmp_path):
    asked, options, said = FAILURES[name]
    server.add("me/tiny", folder, **options)
    with pytest.raises(ValueError, match=said) as error:
        rd.load_prior(asked)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cache").rglob("card.json"))


def test_a_revision_that_is_not_there_is_one_line(server, folder):
    server.add("me/tiny", folder)
    with pytest.raises(hub.HubError, match="hf:me/tiny has no revision other; give one of its branches"):
        rd.load_prior("hf:me/tiny", revision="other")


@pytest.mark.slow  # the library tries again, and waits
def test_a_file_that_is_cut_off_is_one_line(server, folder):
    server.add("me/tiny", folder, cut=True)
    with pytest.raises(hub.HubError, match=r"cut off|cannot be reached") as error:
        rd.load_prior("hf:me/tiny")
    assert "\n" not in str(error.value)


def test_without_network_and_cache_one_line_says_both(server, folder, monkeypatch):
    with pytest.raises(hub.HubError, match="not in the cache, and only the cache is looked at; fetch it once"):
        rd.load_prior("hf:me/tiny", local_files_only=True)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(hub.HubError, match=r"not in the cache, and http://127.0.0.1:9 cannot be reached \(.*\); fetch"):
        rd.load_prior("hf:me/tiny")


def test_a_cache_that_is_off_says_what_to_do(server, monkeypatch):
    monkeypatch.setenv("REDDIFF_JAX_CACHE", "off")
    with pytest.raises(hub.HubError, match=r"REDDIFF_JAX_CACHE is off, .*; convert it to a folder instead"):
        rd.load_prior("hf:me/tiny")


def test_a_repository_without_a_prior_lists_what_it_has(server, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "model.ckpt").write_bytes(b"x")
    server.add("me/files", tmp_path / "files")
    with pytest.raises(hub.HubError, match=r"it has model\.ckpt\. One file: hf:me/files/FILE"):
        rd.load_prior("hf:me/files")


def test_what_cannot_be_converted_is_said_of_the_hubs_name(server, folder):
    repository = server.add("me/tiny", folder)
    repository.files["config.json"] = json.dumps({**CONFIG, "_class_name": "UNet1DModel"}).encode()
    with pytest.raises(hub.HubError, match=r"^hf:me/tiny: config\.json is of .UNet1DModel.; only UNet2DModel"):
        rd.load_prior("hf:me/tiny")


def test_a_revision_of_a_folder_is_an_error(converted):
    with pytest.raises(ValueError, match=r"revision is 'main', but .* is no prior of a hub; leave it out"):
        rd.load_prior(converted, revision="main")


# ---- what is pushed


def test_a_pushed_prior_is_loaded_again(server, converted):
    address = hub.push(converted, "me/pushed", licence="apache-2.0")
    assert address.startswith(server.address)
    files = server.pushed["me/pushed"]
    page = files["README.md"].decode()
    for part in ('license: "apache-2.0"', "library_name: reddiff-jax", 'rd.load_prior("hf:me/pushed")', "| data | not"):
        assert part in page
    repository = server.add("me/pushed", converted)
    repository.files = files
    assert same(rd.load_prior("hf:me/pushed"), converted)


def test_a_model_card_tells_data_and_credits():
    card = io.read_card(io.find_prior())
    page = hub.pushing.model_card(card, "me/photo", None)
    assert "| trained by | `python -m benchmarks.photo_train" in page
    assert "## Credits\n\n- mvtb-data" in page


def test_weights_without_a_licence_are_not_pushed(server, converted):
    with pytest.raises(hub.HubError, match="states no licence of its weights; say --license"):
        hub.push(converted, "me/pushed")
    assert server.pushed == {}


def test_the_command_pushes(server, converted):
    from typer.testing import CliRunner

    from reddiff_jax.cli import app

    result = CliRunner().invoke(app, ["push", str(converted), "me/pushed", "--license", "mit"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"pushed: {server.address}/me/pushed/commit/")
