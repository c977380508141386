"""Public priors of CT are diffusers' UNet2DModel of one channel, 512 x 512, under a DDPM schedule: they are taken."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from checkpoint_files import write_safetensors
from state_dicts import state_dict

import reddiff_jax as rd
from reddiff_jax import io
from reddiff_jax.converting import convert
from reddiff_jax.converting.diffusers import choose_net, to_params
from reddiff_jax.nets import DiffusersUNet, parameter_shapes

DOWN = [*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"]
UP = ["UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4]
SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "variance_type": "fixed_small",
}


def _config(*widths: int, groups: int = 32) -> dict:
    """What diffusers' example of unconditional training writes, for one channel."""
    return {
        "_class_name": "UNet2DModel",
        "_diffusers_version": "0.21.4",
        "act_fn": "silu",
        "add_attention": True,
        "attention_head_dim": 8,
        "block_out_channels": list(widths),
        "center_input_sample": False,
        "class_embed_type": None,
        "down_block_types": DOWN,
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": 1,
        "layers_per_block": 2,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": groups,
        "out_channels": 1,
        "resnet_time_scale_shift": "default",
        "sample_size": 512,
        "time_embedding_type": "positional",
        "up_block_types": UP,
    }


def _net(config: dict) -> DiffusersUNet:
    return DiffusersUNet(
        block_out_channels=tuple(config["block_out_channels"]),
        down_block_types=tuple(DOWN),
        up_block_types=tuple(UP),
        norm_num_groups=config["norm_num_groups"],
        in_channels=1,
        out_channels=1,
    )


@pytest.mark.slow
def test_the_published_size_is_taken_and_maps_a_slice_to_its_noise():
    config = _config(128, 128, 256, 256, 512, 512)
    tensors = state_dict(_net(config), empty=True)
    net = choose_net(config, tensors, 1000)
    params = to_params(tensors, net)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 113_668_609
    eps = jax.eval_shape(net.apply, {"params": parameter_shapes(net)}, jnp.zeros((512, 512, 1)), jnp.asarray(1.0))
    assert eps.shape == (512, 512, 1)


@pytest.mark.slow
def test_one_that_is_converted_restores_ct_as_it_is(tmp_path):
    config = _config(*[8] * 6, groups=4)
    folder = tmp_path / "ct"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    write_safetensors(folder / "diffusion_pytorch_model.safetensors", state_dict(_net(config)))
    convert(folder, tmp_path / "out")
    prior = io.load_prior(tmp_path / "out")
    assert (prior.net.in_channels, prior.schedule.num_timesteps) == (1, 1000)
    operator = rd.parallel_ct((64, 64, 1), rd.view_angles(8))
    problem = rd.problem(jnp.zeros(operator.out_shape), operator, rd.gaussian(0.01))
    solution = jax.eval_shape(rd.run, jax.random.key(0), rd.default_solver(prior, problem), problem)
    assert solution.x.shape == (64, 64, 1)


@pytest.mark.oracle
def test_its_output_equals_diffusers(rng):
    torch = pytest.importorskip("torch")
    module = oracles.diffusers().UNet2DModel.from_config(_config(*[8] * 6, groups=4))
    tensors = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    net = choose_net(json.loads(module.to_json_string()), tensors, 1000)
    x = rng.standard_normal((64, 64, 1), dtype=np.float32)
    ours = jax.jit(net.apply)({"params": to_params(tensors, net)}, x, 500)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x).movedim(-1, 0)[None], 500).sample[0].movedim(0, -1).numpy()
    # float32: 6e-8 a rounding, times the gain of some ten layers in a row
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
