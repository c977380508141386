"""A prior written for PyTorch's packages: what they open predicts the same, and the converter reads it back."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from state_dicts import paths

import reddiff_jax as rd
from reddiff_jax import io
from reddiff_jax.converting import convert
from reddiff_jax.converting.saving import scheduler_config
from reddiff_jax.nets import DiffusersUNet, ResidualUNet, UNet, parameter_shapes

DIFFUSERS = DiffusersUNet(
    block_out_channels=(8, 16),
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    layers_per_block=1,
    norm_num_groups=4,
)
ADM = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1, 2), num_head_channels=16, attention_downsamples=(2,))
RESIDUAL = ResidualUNet(widths=(8, 16), num_res_blocks=1)


def prior_of(net, schedule=None, **options) -> rd.priors.NetPrior:
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.1 * rng.standard_normal(leaf.shape), jnp.float32), parameter_shapes(net)
    )
    return rd.priors.NetPrior(schedule=schedule or rd.schedules.linear(), params=params, net=net, **options)


ROUND_TRIPS = {
    "diffusers": (DIFFUSERS, "", {}, {}),
    "diffusers_v": (DIFFUSERS, "", {}, {"to_eps": rd.from_v}),
    "adm": (ADM, "model.safetensors", {"head_channels": 16, "new_attention_order": False, "schedule": "linear"}, {}),
    "residual": (RESIDUAL, "model.safetensors", {}, {"to_eps": rd.from_v}),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ("diffusers", "residual") else pytest.mark.slow) for n in ROUND_TRIPS]
)
def test_what_is_written_is_read_back(name, tmp_path):
    net, file, options, fields = ROUND_TRIPS[name]
    prior = prior_of(net, **fields)
    rd.save_safetensors(prior, tmp_path / "out")
    convert(tmp_path / "out" / file, tmp_path / "back", **options)
    back = io.load_prior(tmp_path / "back")
    assert (back.net, back.to_eps) == (prior.net, prior.to_eps)
    for (path, ours), (_, theirs) in zip(paths(prior.params), paths(back.params), strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=str(path))
    # Betas are differences of float32 tables.
    np.testing.assert_allclose(back.schedule.sigmas, prior.schedule.sigmas, rtol=2e-5)


@pytest.mark.oracle
@pytest.mark.slow
def test_diffusers_opens_what_is_written(tmp_path):
    torch, diffusers = pytest.importorskip("torch"), oracles.diffusers()
    prior = prior_of(DIFFUSERS, rd.schedules.cosine(200))
    rd.save_safetensors(prior, tmp_path / "out")
    model = diffusers.UNet2DModel.from_pretrained(tmp_path / "out").eval()
    x_t = np.random.default_rng(1).normal(size=(16, 16, 3)).astype(np.float32)
    with torch.no_grad():
        output = model(torch.from_numpy(x_t).movedim(-1, 0)[None], torch.tensor([17])).sample[0].movedim(0, -1).numpy()
    np.testing.assert_allclose(prior.eps(jnp.asarray(x_t), 17), output, atol=1e-5)
    scheduler = diffusers.DDPMScheduler.from_pretrained(tmp_path / "out")
    np.testing.assert_allclose(scheduler.alphas_cumprod, np.asarray(prior.schedule.alphas) ** 2, rtol=2e-4)
    assert scheduler.config.prediction_type == "epsilon"


@pytest.mark.oracle
def test_diffusers_opens_the_scheduler_of_a_flow(tmp_path):
    diffusers = oracles.diffusers()
    config = scheduler_config(rd.schedules.rectified_flow(), rd.from_velocity)
    (tmp_path / "scheduler_config.json").write_text(json.dumps(config))
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(tmp_path)
    assert (scheduler.config.shift, scheduler.config.num_train_timesteps) == (1.0, 1000)


def test_safetensors_own_reader_reads_what_is_written(tmp_path):
    official = pytest.importorskip("safetensors.numpy")
    rd.save_safetensors(prior_of(RESIDUAL), tmp_path / "out")
    tensors = official.load_file(tmp_path / "out" / "model.safetensors")
    assert tensors["head.weight"].shape == (8, 12, 3, 3)


def test_what_has_no_counterpart_is_an_error_and_leaves_no_folder(tmp_path):
    folded = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1,), middle_attention=False, patch_size=2)
    cases = [
        (prior_of(folded), ValueError, r"folds patches of 2 pixels .*; train with --patch 1"),
        (prior_of(RESIDUAL, rd.schedules.edm()), ValueError, "does not preserve the variance"),
        (prior_of(RESIDUAL, to_eps=rd.from_score), TypeError, "to_eps=from_score, for which diffusers has no name"),
        (rd.gaussian_prior(jnp.zeros((2, 2, 1)), 1.0, rd.schedules.linear()), TypeError, "must be a NetPrior"),
    ]
    for prior, kind, said in cases:
        with pytest.raises(kind, match=said):
            rd.save_safetensors(prior, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_alone(tmp_path):
    with pytest.raises(FileExistsError, match="exists already; choose another folder"):
        rd.save_safetensors(prior_of(RESIDUAL), tmp_path)


@pytest.mark.oracle
def test_azula_opens_what_is_written(adm, tmp_path):
    torch, official = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    from azula.plugins.adm import make_model

    prior = prior_of(ADM.clone(out_channels=6))
    rd.save_safetensors(prior, tmp_path / "out")
    denoiser = make_model(
        image_size=16,
        num_channels=32,
        channel_mult=(1, 2),
        attention_resolutions=(8,),
        num_res_blocks=1,
        num_head_channels=16,
        use_scale_shift_norm=True,
        resblock_updown=True,
    )
    # azula's own load_model knows the published files by name.
    denoiser.backbone.load_state_dict(official.load_file(tmp_path / "out" / "model.safetensors"))
    x_t = np.random.default_rng(1).normal(size=(16, 16, 3)).astype(np.float32)
    with torch.no_grad():
        output = denoiser.eval().backbone(torch.from_numpy(x_t).movedim(-1, 0)[None], torch.tensor([17]))
    # float32: 6e-8 a rounding, times the gain of some ten layers in a row
    np.testing.assert_allclose(prior.eps(jnp.asarray(x_t), 17), output[0, :3].movedim(0, -1).numpy(), atol=1e-4)


@pytest.mark.oracle
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of diffusers' pipelines
def test_deepinv_opens_a_pipeline_of_what_is_written(tmp_path):
    torch, diffusers, deepinv = pytest.importorskip("torch"), oracles.diffusers(), oracles.deepinv()
    prior = prior_of(DIFFUSERS)
    rd.save_safetensors(prior, tmp_path / "out")
    model = diffusers.UNet2DModel.from_pretrained(tmp_path / "out")
    scheduler = diffusers.DDPMScheduler.from_pretrained(tmp_path / "out")
    diffusers.DDPMPipeline(unet=model, scheduler=scheduler).save_pretrained(tmp_path / "pipeline")
    denoiser = deepinv.models.DiffusersDenoiserWrapper(mode_id=str(tmp_path / "pipeline"), clip_output=False)
    # A level of the schedule, in deepinv's pixels in [0, 1].
    t, x = 300, np.random.default_rng(1).uniform(size=(16, 16, 3)).astype(np.float32)
    alpha_t, sigma_t = (float(each) for each in prior.schedule(t))
    with torch.no_grad():
        theirs = denoiser(torch.from_numpy(x).movedim(-1, 0)[None], sigma=sigma_t / alpha_t / 2)[0]
    ours = prior.denoise(alpha_t * jnp.asarray(2 * x - 1), t) / 2 + 0.5
    # Its timestep is the nearest of its own float32 table.
    np.testing.assert_allclose(ours, theirs.movedim(0, -1).numpy(), atol=2e-3)
