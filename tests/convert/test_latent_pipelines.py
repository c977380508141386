"""Pipelines that diffuse latents: network and autoencoder are read together, and restore a picture."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_files import write_safetensors
from state_dicts import state_dict
from typer.testing import CliRunner

import reddiff_jax as rd
from reddiff_jax import io
from reddiff_jax.cli import app
from reddiff_jax.converting import CheckpointError, convert
from reddiff_jax.converting.diffusers import choose_net
from reddiff_jax.nets import AutoencoderKL, AutoencoderTiny, ConditionalUNet, DiffusersUNet, VQModel, parameter_count

UNET = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "mid_block_type": None,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "in_channels": 4,
    "out_channels": 4,
}
LEVELS = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 8),
    "norm_num_groups": 4,
    "mid_block_add_attention": False,
    "latent_channels": 4,
}
TINY = {
    "encoder_block_out_channels": (8, 8),
    "decoder_block_out_channels": (8, 8),
    "num_encoder_blocks": (1, 1),
    "num_decoder_blocks": (1, 1),
}
SCHEDULER = {"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195}
KINDS = {
    "vae": (AutoencoderKL, LEVELS, {"scaling_factor": 0.5, "shift_factor": 0.1, "force_upcast": True}),
    "vqvae": (VQModel, {**LEVELS, "num_vq_embeddings": 16}, {"norm_type": "group", "lookup_from_codebook": False}),
    "vae_tiny": (
        AutoencoderTiny,
        TINY,
        {"latent_magnitude": 3, "block_out_channels": (8, 8), "upsample_fn": "nearest"},
    ),
}


def write_part(folder: Path, name: str, net, config: dict) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"_class_name": name, "sample_size": 16, **config}))
    write_safetensors(folder / "diffusion_pytorch_model.safetensors", state_dict(net))


def write_pipeline(folder: Path, kind: str = "vae", *, unet=UNET, **changes) -> Path:
    net, config, beside = KINDS[kind]
    write_part(folder / "unet", "UNet2DModel", DiffusersUNet(**unet), unet)
    write_part(folder / kind.partition("_")[0], net.__name__, net(**config), {**config, **beside, **changes})
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "LDMPipeline"}))
    return folder


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Path:
    return write_pipeline(tmp_path_factory.mktemp("latent") / "tiny-ldm")


@pytest.fixture(scope="module")
def converted(pipeline, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "prior"
    convert(pipeline, out)
    return out


@pytest.mark.slow
def test_a_pipeline_gives_a_prior_of_latents(pipeline, converted):
    latent = rd.load_prior(converted)
    assert isinstance(latent, rd.Latent)
    assert (latent.prior.net, latent.autoencoder.net) == (DiffusersUNet(**UNET), AutoencoderKL(**LEVELS))
    assert (float(latent.autoencoder.scale), float(latent.autoencoder.shift)) == (0.5, pytest.approx(0.1))
    card = io.read_card(converted)
    assert card["num_parameters"] == parameter_count(latent.prior.net) + parameter_count(latent.autoencoder.net)
    assert card["source"]["autoencoder"]["file"] == "vae/diffusion_pytorch_model.safetensors"
    assert card["source"]["autoencoder"]["config"]["file"] == "vae/config.json"
    assert card["image_channels"] == 3


def test_what_was_saved_is_loaded(converted, tmp_path):
    latent = rd.load_prior(converted)
    rd.save_prior(latent, tmp_path / "copy")
    copy = rd.load_prior(tmp_path / "copy")
    assert jax.tree.all(jax.tree.map(np.array_equal, latent, copy))


@pytest.mark.parametrize("kind", [each for each in KINDS if each != "vae"])
def test_other_autoencoders_are_read(kind, tmp_path):
    convert(write_pipeline(tmp_path / "pipeline", kind), tmp_path / "out")
    autoencoder = rd.load_prior(tmp_path / "out").autoencoder
    net, config, _ = KINDS[kind]
    assert autoencoder.net == net(**config)
    # diffusers' defaults where a configuration says none
    assert autoencoder.scale is None if kind == "vae_tiny" else float(autoencoder.scale) == pytest.approx(0.18215)
    assert autoencoder.shift is None


@pytest.mark.slow
def test_the_command_line_restores_with_it(converted, tmp_path):
    from PIL import Image

    # 18 x 13: neither the autoencoder's 2 nor the network's 2 divides both.
    pixels = np.random.default_rng(0).integers(0, 255, (13, 18, 3), np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    words = [str(tmp_path / "in"), "--task", "sr4", "--sigma", "0.05", "--prior", str(converted)]
    short = ["--steps", "2", "--set", "num_runs=1"]
    result = CliRunner().invoke(app, ["restore", *words, *short, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "out" / "a.png") as restored:
        assert restored.size == (72, 52)


@pytest.mark.slow
def test_gray_pictures_and_denoising_are_served(converted):
    x = np.random.default_rng(0).integers(0, 255, (16, 16), np.uint8)
    restored = rd.restore(x, task="denoise", sigma=0.1, prior=rd.load_prior(converted), changes={"num_steps": 2})
    assert (restored.shape, restored.dtype) == (x.shape, x.dtype)


@pytest.mark.slow
def test_samples_and_other_solvers_go_through_the_decoder(converted, key):
    latent = rd.load_prior(converted)
    x = np.tanh(np.random.default_rng(0).normal(size=(16, 16, 3))).astype(np.float32)
    problem = rd.measure(key, rd.super_resolution(x.shape, 4), rd.gaussian(0.05), x)
    for solver in (rd.default_solver(latent, problem, sample=True), rd.default_solver(latent, problem)):
        short = solver.replace(latent=latent) if hasattr(solver, "latent") else solver.solver
        assert short.init(key, problem).in_shape == x.shape
    solution = rd.run(key, rd.latent_solver(rd.dps(latent.prior, num_steps=3), latent), problem)
    assert solution.finite


@pytest.mark.parametrize("command", ["tune", "demo"])
def test_other_commands_refuse_it_in_one_line(command, converted, tmp_path):
    words = [str(tmp_path), "--task", "denoise"] if command == "tune" else []
    (tmp_path / "a.png").write_bytes(b"")
    result = CliRunner().invoke(app, [command, *words, "--prior", str(converted), "--out", str(tmp_path / "o")])
    assert result.exit_code != 0
    assert "is a prior of latents, which serves restore and not this command" in result.output.replace("\n", " ")


CONDITIONAL = {
    "block_out_channels": (8, 8),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": 6,
    "attention_head_dim": (1, 2),
}
# What diffusers writes beside it.
BESIDE = {"mid_block_type": "UNetMidBlock2DCrossAttn", "act_fn": "silu", "conv_in_kernel": 3, "dropout": 0.0}


@pytest.mark.slow
def test_a_pipeline_with_a_text_condition_is_read(tmp_path, key):
    folder = write_pipeline(tmp_path / "pipeline")
    shutil.rmtree(folder / "unet")
    write_part(folder / "unet", "UNet2DConditionModel", ConditionalUNet(**CONDITIONAL), {**CONDITIONAL, **BESIDE})
    convert(folder, tmp_path / "out")
    latent = rd.load_prior(tmp_path / "out")
    assert latent.prior.net == ConditionalUNet(**CONDITIONAL)
    tokens = jnp.ones((5, 6))
    eps = jax.eval_shape(latent.prior.eps, jnp.zeros((4, 4, 4)), 10, tokens)
    assert eps.shape == (4, 4, 4)
    problem = rd.problem(jnp.zeros((8, 8, 3)), rd.denoising((8, 8, 3)), rd.gaussian(0.1))
    solver = rd.default_solver(latent, problem)
    with pytest.raises(ValueError, match=r"attends to a text: give the problem its tokens \(T, 6\), rd.problem"):
        jax.eval_shape(lambda: rd.run(key, solver, problem))
    posed = problem.replace(cond=tokens)
    assert jax.eval_shape(lambda: rd.run(key, solver, posed)).x.shape == (8, 8, 3)


CONDITIONS = {
    "added": ({"addition_embed_type": "text_time"}, r"does not know \(addition_embed_type\)"),
    "layers": (
        {"transformer_layers_per_block": [1, 2]},
        r"transformer_layers_per_block=\[1, 2\]; this converter knows 1",
    ),
    "heads": ({"attention_head_dim": [1, 1, 1]}, "3 numbers in attention_head_dim, but 2 levels"),
    "kind": ({"attention_head_dim": "8"}, 'attention_head_dim="8"; this converter knows .*, or a list'),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_other_networks_with_a_text_are_refused_by_name(name):
    changes, said = CONDITIONS[name]
    config = json.loads(json.dumps({"_class_name": "UNet2DConditionModel", **CONDITIONAL, **BESIDE, **changes}))
    with pytest.raises(CheckpointError, match=said):
        choose_net(config, state_dict(ConditionalUNet(**CONDITIONAL), empty=True), 1000)


REFUSED = {
    "other_channels": ({"latent_channels": 3}, {}, "vae/config.json has latents of 3 channels, but the unet takes 4"),
    "other_class": (
        {},
        {"_class_name": "AutoencoderDC"},
        '"AutoencoderDC"; this converter knows the autoencoders Auto',
    ),
    "unknown_field": (
        {},
        {"latents_mean": [0.1]},
        r"fields that this converter does not know \(latents_mean\); delete",
    ),
    "scale": ({}, {"scaling_factor": 0}, "scaling_factor=0; this converter knows"),
    "block": ({}, {"up_block_types": ["UpDecoderBlock2D", "MidBlock"]}, 'up_block_types="MidBlock"'),
    "weights": ({}, {"use_quant_conv": False}, r"2 tensors of the file have no place in it \(quant_conv"),
    "deep": ({}, {"layers_per_block": 32}, "describes 132 residual blocks, but the weights are"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(name, tmp_path):
    config, changes, said = REFUSED[name]
    folder = tmp_path / "pipeline"
    write_pipeline(folder)
    written = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps({**written, **config, **changes}))
    with pytest.raises(CheckpointError, match=said) as caught:
        convert(folder, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_pipeline_without_the_autoencoders_weights_says_so(tmp_path):
    folder = write_pipeline(tmp_path / "pipeline")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"vae/ lacks config.json or its .*; download the whole pipeline"):
        convert(folder, tmp_path / "out")


def test_an_autoencoder_alone_is_no_prior(pipeline, tmp_path):
    (tmp_path / "vae").mkdir()
    for file in (pipeline / "vae").iterdir():
        (tmp_path / "vae" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "vae" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    with pytest.raises(
        CheckpointError, match="is of an AutoencoderKL, which is no prior by itself; give the folder of"
    ):
        convert(tmp_path / "vae", tmp_path / "out")
