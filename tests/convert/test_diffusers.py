"""diffusers' folders: the network is that of config.json, each tensor used once, and what is not known is refused."""

import contextlib
import json
import math
import shutil
from pathlib import Path

import jax
import numpy as np
import oracles
import pytest
from checkpoint_files import write_checkpoint, write_safetensors
from state_dicts import paths, published_array, published_name, state_dict

import reddiff_jax as rd
from reddiff_jax import io
from reddiff_jax.converting import CheckpointError, convert, read_checkpoint
from reddiff_jax.converting.diffusers import (
    SCHEDULERS,
    choose_net,
    choose_prediction,
    choose_schedule,
    find_files,
    read_json,
    to_params,
)
from reddiff_jax.nets import DiffusersUNet, parameter_shapes

TIMESTEPS = np.array([0, 1, 500, 999])
SMALL = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
NET = DiffusersUNet(**SMALL)
CONFIG = {"_class_name": "UNet2DModel", "_diffusers_version": "0.30.0", "sample_size": 16, **SMALL}
SCHEDULER = {"_class_name": "DDPMScheduler", "beta_schedule": "linear", "num_train_timesteps": 1000}


def write_folder(folder: Path, tensors: dict[str, np.ndarray], config=CONFIG, scheduler=SCHEDULER) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "diffusion_pytorch_model.safetensors", tensors)
    if scheduler is not None:
        (folder / "scheduler_config.json").write_text(json.dumps(scheduler))
    return folder


@pytest.fixture(scope="module")
def tensors():
    return state_dict(NET)


@pytest.fixture(scope="module")
def folder(tensors, tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("source") / "tiny-8", tensors)


@pytest.fixture(scope="module")
def converted(folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "prior"
    convert(folder, out)
    return out


# ---- what comes out


def test_each_parameter_is_its_tensor(tensors, converted):
    prior = io.load_prior(converted)
    assert prior.net == NET
    assert len(tensors) == len(jax.tree.leaves(prior.params))
    for path, array in paths(prior.params):
        np.testing.assert_array_equal(published_array(path, np.asarray(array)), tensors[published_name(path)])


def test_the_card_says_what_was_read(converted, folder):
    card = io.read_card(converted)
    assert (card["name"], card["prediction"], card["value_range"]) == ("tiny-8", "eps", [-1, 1])
    assert card["schedule"] == {"name": "linear beta 0.0001..0.02", "num_timesteps": 1000}
    assert (card["image_channels"], card["learned_variance_channels"], card["condition_channels"]) == (3, 0, 0)
    source = card["source"]
    names = [source["file"], source["config"]["file"], source["scheduler"]["file"]]
    assert names == ["diffusion_pytorch_model.safetensors", "config.json", "scheduler_config.json"]
    assert source["config"]["bytes"] == (folder / "config.json").stat().st_size
    assert all(len(each["sha256"]) == 64 for each in (source, source["config"], source["scheduler"]))


@pytest.mark.slow
def test_the_prior_restores(converted, key, rng):
    import optax

    solver = rd.reddiff(io.load_prior(converted), optax.adam(0.1), num_steps=2)
    x = np.tanh(rng.standard_normal((8, 8, 3), np.float32))
    problem = rd.measure(key, rd.denoising(x.shape), rd.gaussian(0.1), x)
    solution = rd.run(key, solver, problem)
    assert solution.finite
    assert solution.x.shape == x.shape


@pytest.mark.slow
def test_old_names_of_attention_and_pickled_weights_give_the_same(tensors, converted, tmp_path):
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    renamed = dict(tensors)
    for new, name in old.items():
        renamed = {each.replace(new, name): tensor for each, tensor in renamed.items()}
    assert renamed.keys() != tensors.keys()
    write_checkpoint(tmp_path / "a.bin", renamed)
    params = to_params(read_checkpoint(tmp_path / "a.bin").tensors, NET)
    assert jax.tree.all(jax.tree.map(np.array_equal, params, io.load_prior(converted).params))


def test_the_command_converts_a_pipeline(tensors, tmp_path):
    from typer.testing import CliRunner

    from reddiff_jax.cli import app

    unet = write_folder(tmp_path / "pipeline" / "unet", tensors, scheduler=None)
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    write_checkpoint(unet / "diffusion_pytorch_model.bin", tensors)
    (tmp_path / "pipeline" / "scheduler").mkdir()
    scheduler = {**SCHEDULER, "num_train_timesteps": 50, "prediction_type": "v_prediction"}
    (tmp_path / "pipeline" / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "pipeline"), str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    card = io.read_card(tmp_path / "out")
    assert (card["prediction"], card["schedule"]["num_timesteps"]) == ("v", 50)
    assert card["source"]["file"] == "unet/diffusion_pytorch_model.bin"


def test_options_come_before_the_schedulers_file(folder, tmp_path):
    card = convert(folder, tmp_path / "out", schedule="cosine", prediction="x0")
    assert (card["schedule"]["name"], card["prediction"]) == ("cosine", "x0")


def test_raw_and_averaged_weights_stop_until_one_is_named(tmp_path):
    for name in ("unet", "unet_ema"):
        write_folder(tmp_path / name, {})
    with pytest.raises(
        CheckpointError, match=r"2 sets of weights; say --weights unet_ema/diff.* or --weights unet/d.*ema"
    ):
        find_files(tmp_path)
    for name in ("unet", "unet_ema"):
        assert find_files(tmp_path, name).config.parent.name == name


VARIANTS = {
    "a rounded copy": (["", ".fp16"], None, ""),
    "two formats": (["", ".bin"], None, ""),
    "only a rounded copy": ([".fp16"], None, ".fp16"),
    "raw weights beside averaged ones": (["", ".non_ema"], "2 sets of weights; say --weights", ".non_ema"),
    "an old file beside newer parts": (["", ".index"], "2 sets of weights; say --weights", ".index"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_of_files_that_could_be_meant_none_is_chosen_silently(name, tmp_path):
    kinds, said, wanted = VARIANTS[name]
    names = {
        kind: f"diffusion_pytorch_model{kind}.safetensors"
        if kind not in (".bin", ".index")
        else {".bin": "diffusion_pytorch_model.bin", ".index": "diffusion_pytorch_model.safetensors.index.json"}[kind]
        for kind in kinds
    }
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    for each in names.values():
        (tmp_path / each).write_bytes(b"x")
    if said is None:
        assert find_files(tmp_path).weights.name == names[wanted]
        return
    with pytest.raises(CheckpointError, match=said):
        find_files(tmp_path)
    assert find_files(tmp_path, names[wanted]).weights.name == names[wanted]
    with pytest.raises(CheckpointError, match=r"no single set of weights \"other\"; --weights is one of"):
        find_files(tmp_path, "other")


def test_weights_in_parts_are_put_together(tensors, converted, tmp_path):
    folder = write_parts(tmp_path / "parts", tensors)
    card = convert(folder, tmp_path / "out")
    assert [part["file"] for part in card["source"]["parts"]] == ["a.safetensors", "b.safetensors"]
    ours, theirs = (jax.tree.leaves(io.load_prior(each).params) for each in (tmp_path / "out", converted))
    assert all(map(np.array_equal, ours, theirs))


def write_parts(folder: Path, tensors: dict[str, np.ndarray], **changes: object) -> Path:
    write_folder(folder, {})
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for part, held in parts.items():
        write_safetensors(folder / part, {name: tensors[name] for name in held})
    index = {"metadata": {"total_size": 1}, "weight_map": {name: part for part, held in parts.items() for name in held}}
    index["weight_map"] |= changes
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conv_in.bias": "c.safetensors"}, "lists 2 files, of which 1 are missing, as c.safetensors; download them"),
        ({"conv_in.bias": "../a.safetensors"}, "must be a file's name, no path"),
        ({"other.bias": "a.safetensors"}, r"a\.safetensors lacks other.bias; download all parts again"),
    ],
)
def test_an_index_that_does_not_fit_its_parts_says_so(changes, said, tmp_path):
    arrays = {name: np.ones(2, np.float32) for name in ("conv_in.bias", "conv_out.bias")}
    folder = write_parts(tmp_path / "parts", arrays, **changes)
    with pytest.raises(CheckpointError, match=said):
        read_checkpoint(find_files(folder).weights)


# ---- the schedule


def alphas_cumprod(schedule) -> np.ndarray:
    return np.asarray(schedule.alphas, np.float64) ** 2


def test_without_a_schedulers_file_the_schedule_is_asked_for(tensors, tmp_path):
    write_folder(tmp_path / "a", tensors, scheduler=None)
    with pytest.raises(CheckpointError, match=r"no scheduler_config\.json .* say --schedule linear or cosine"):
        convert(tmp_path / "a", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_trained_betas_are_taken_as_they_are():
    name, schedule = choose_schedule({**SCHEDULER, "trained_betas": [0.1, 0.5], "num_train_timesteps": 2})
    assert name == "trained betas"
    np.testing.assert_allclose(alphas_cumprod(schedule), [0.9, 0.45], rtol=1e-6)


@pytest.mark.parametrize(
    ("said", "prediction"),
    [
        ({}, "eps"),
        ({"predict_epsilon": True}, "eps"),
        ({"predict_epsilon": False}, "x0"),
        ({"prediction_type": "sample"}, "x0"),
        ({"prediction_type": "v_prediction", "predict_epsilon": True}, "v"),
    ],
)
def test_the_prediction_is_the_schedulers(said, prediction):
    assert choose_prediction(said) == prediction


@pytest.mark.oracle
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta_start": 1e-3, "beta_end": 1e-2, "num_train_timesteps": 100},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 400},
        {"beta_schedule": "sigmoid"},
        {"beta_schedule": "laplace", "num_train_timesteps": 500},
        {"trained_betas": [0.1, 0.2, 0.3], "num_train_timesteps": 3},
    ],
    ids=["default", "short", "scaled_linear", "cosine", "sigmoid", "laplace", "trained"],
)
def test_the_schedule_is_diffusers(options):
    scheduler = oracles.diffusers().DDPMScheduler(**options)
    _, schedule = choose_schedule(json.loads(scheduler.to_json_string()))
    # theirs is a product of up to 1000 factors in float32
    np.testing.assert_allclose(alphas_cumprod(schedule), scheduler.alphas_cumprod.numpy(), rtol=2e-4)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # of diffusers with NumPy 2
@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_have_one_table_by_default(name):
    scheduler = getattr(oracles.diffusers(), name)()
    _, schedule = choose_schedule({"_class_name": name})
    np.testing.assert_allclose(alphas_cumprod(schedule), scheduler.alphas_cumprod.numpy(), rtol=2e-4)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_a_schedule_without_terminal_signal_is_diffusers_below_its_last_level(kind):
    options = {"beta_schedule": kind, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    scheduler = oracles.diffusers().DDIMScheduler(**options, timestep_spacing="trailing")
    name, schedule = choose_schedule(json.loads(scheduler.to_json_string()))
    assert (schedule.num_timesteps, "last timestep, which is left out" in name) == (999, True)
    theirs = scheduler.alphas_cumprod.numpy()
    # Theirs is in float32: products of up to 1000 factors, and differences of numbers near 1.
    np.testing.assert_allclose(alphas_cumprod(schedule), theirs[:-1], rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(np.asarray(schedule.sigmas) ** 2, 1 - theirs[:-1], rtol=2e-3, atol=1e-6)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # of diffusers with NumPy 2
@pytest.mark.parametrize("kind", ["Euler", "Heun"])
def test_a_flows_network_gets_the_timestep_that_its_scheduler_gives_it(kind):
    scheduler = getattr(oracles.diffusers(), f"FlowMatch{kind}DiscreteScheduler")()
    name, schedule = choose_schedule(json.loads(scheduler.to_json_string()))
    assert (name, choose_prediction(scheduler.config)) == ("rectified flow", "velocity")
    sigmas = scheduler.sigmas.numpy()[scheduler.timesteps.numpy() < 1000]
    t = scheduler.timesteps.numpy()[scheduler.timesteps.numpy() < 1000]
    # float32 of theirs, in 1 / 1000
    np.testing.assert_allclose(schedule(t)[1], sigmas, atol=1e-6)
    np.testing.assert_allclose(schedule(t)[0], 1 - sigmas, atol=1e-6)


# ---- what is refused


def differs(**changes) -> dict:
    return json.loads(json.dumps({**CONFIG, **changes}))


CONFIGS = {
    "other_class": ({"_class_name": "UNet1DModel"}, '"UNet1DModel"; only UNet2DModel'),
    "other_down_block": (
        {"down_block_types": ["SkipDownBlock2D"] * 2},
        'down_block_types="SkipDownBlock2D"; .* "DownBlock2D" or "AttnDownBlock2D"',
    ),
    "other_up_block": ({"up_block_types": ["UpBlock2D", "KUpBlock2D"]}, 'up_block_types="KUpBlock2D"'),
    "other_middle": ({"mid_block_type": "UNetMidBlock2DCrossAttn"}, "this converter knows .*UNetMidBlock2D.* or null"),
    "fourier": ({"time_embedding_type": "fourier"}, '="fourier"; this converter knows "positional" or "learned"'),
    "identity": ({"class_embed_type": "identity"}, 'class_embed_type="identity"'),
    "activation": ({"act_fn": "tanh"}, 'act_fn="tanh"'),
    "spatial": ({"resnet_time_scale_shift": "spatial"}, 'resnet_time_scale_shift="spatial"'),
    "padding": ({"downsample_padding": 2}, "downsample_padding=2; this converter knows 0 or 1"),
    "padding_of_truth": ({"downsample_padding": True}, "downsample_padding=true"),
    "unknown_field": ({"encoder_hid_dim": 3}, r"fields that this converter does not know \(encoder_hid_dim\); delete"),
    "no_list": ({"block_out_channels": 8}, "block_out_channels=8; .* a list of 1 to 10"),
    "no_levels": ({"block_out_channels": []}, "a list of 1 to 10"),
    "wide": ({"block_out_channels": [8, 10**9]}, "block_out_channels=1000000000"),
    "deep": ({"layers_per_block": 10**6}, "layers_per_block=1000000"),
    "deeper_than_the_weights": ({"layers_per_block": 32}, "describes 130 residual blocks, but the weights are"),
    "text_for_a_number": ({"in_channels": "3"}, 'in_channels="3"'),
    "not_a_number": ({"norm_eps": math.nan}, "norm_eps=NaN"),
    "uneven": ({"up_block_types": ["UpBlock2D"]}, "2 block_out_channels, 2 down_block_types and 1 up_block_types"),
    "shift": ({"freq_shift": 4}, "freq_shift=4"),
    "no_table": ({"time_embedding_type": "learned"}, "learned embeddings of 0 timesteps"),
    "short_table": (
        {"time_embedding_type": "learned", "num_train_timesteps": 100},
        "of 100 timesteps .* the schedule has 1000",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_an_unknown_configuration_is_refused_by_name(name, tensors):
    changes, said = CONFIGS[name]
    with pytest.raises(CheckpointError, match=said):
        choose_net(differs(**changes), tensors, 1000)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"norm_num_groups": 3}, "makes no network: .*num_groups=3"),
        ({"attention_head_dim": 32}, "makes no network: .*attention_head_dim=32"),
        ({"num_class_embeds": 5}, r"1 of its parameters .*class_embedding/embedding.* belong together\."),
        ({"add_attention": False}, r"10 tensors of the file have no place in it \(mid_block"),
        ({"block_out_channels": [16, 16]}, "tensors do not fit"),
    ],
)
def test_weights_of_another_configuration_are_refused(changes, said, tensors):
    with pytest.raises(CheckpointError, match=said):
        to_params(tensors, choose_net(differs(**changes), tensors, 1000))


def test_old_and_new_names_for_one_parameter_are_refused(tensors):
    twice = {**tensors, "mid_block.attentions.0.query.bias": tensors["mid_block.attentions.0.to_q.bias"]}
    with pytest.raises(CheckpointError, match="1 tensors of the file have no place in it"):
        to_params(twice, NET)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"_class_name": "ScoreSdeVeScheduler"}, '_class_name="ScoreSdeVeScheduler"'),
        ({"beta_schedule": "exp"}, 'beta_schedule="exp"'),
        ({"rescale_betas_zero_snr": 1}, "rescale_betas_zero_snr=1; .* false or true"),
        ({"num_train_timesteps": 10**9}, "num_train_timesteps=1000000000"),
        ({"beta_end": 2}, "beta_end=2"),
        ({"trained_betas": [0.1, 1.5]}, "trained_betas"),
        ({"trained_betas": [0.1]}, "has 1 trained_betas but num_train_timesteps=1000"),
    ],
)
def test_an_unknown_schedule_is_refused_by_name(changes, said):
    with pytest.raises(CheckpointError, match=said):
        choose_schedule({**SCHEDULER, **changes})


def test_a_scheduler_without_a_name_is_refused():
    with pytest.raises(CheckpointError, match=r"does not name its scheduler \(_class_name\); say --schedule"):
        choose_schedule({"beta_schedule": "linear"})


@pytest.mark.parametrize("said", ["flow_prediction", None, ["epsilon"]])
def test_an_unknown_prediction_is_refused(said):
    with pytest.raises(CheckpointError, match="this converter knows epsilon, sample, v_prediction"):
        choose_prediction({"prediction_type": said})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"9" * 10_000, "is damaged"),
        (b"[1]", "holds a list"),
        (b" " * 10_000_001, "10000001 bytes, which no configuration has"),
    ],
    ids=["empty", "binary", "nested", "digits", "list", "large"],
)
def test_a_damaged_configuration_is_refused(content, said, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        read_json(tmp_path / "config.json")


def test_a_folder_without_weights_lists_what_it_has(folder, tmp_path):
    shutil.copy(folder / "config.json", tmp_path)
    (tmp_path / "diffusion_pytorch_model.msgpack").write_text("{}")
    with pytest.raises(CheckpointError, match=r"but diffusion_pytorch_model\.msgpack"):
        find_files(tmp_path)


def test_options_that_the_configuration_tells_are_refused(folder, tmp_path):
    with pytest.raises(CheckpointError, match="leave out --head-channels and --attention-order"):
        convert(folder, tmp_path / "out", head_channels=8, new_attention_order=True)


def test_the_weights_alone_ask_for_their_folder(folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"those of diffusers; give the folder .* config\.json"):
        convert(folder / "diffusion_pytorch_model.safetensors", tmp_path / "out")


def test_a_note_of_git_lfs_is_no_file(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "a")
    (tmp_path / "a" / "diffusion_pytorch_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        convert(tmp_path / "a", tmp_path / "out")


@pytest.mark.slow
def test_any_configuration_is_a_network_or_refused(tensors):
    pytest.importorskip("hypothesis")
    from hypothesis import given, settings
    from hypothesis import strategies as st

    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    words = st.sampled_from(["DownBlock2D", "UpBlock2D", "conv", "default", "learned", "timestep", "linear", "silu"])
    values = st.recursive(scalars | words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner))
    fields = st.sampled_from([*CONFIG, *NET.__dataclass_fields__, "beta_start", "trained_betas", "beta_schedule"])

    @settings(max_examples=100, deadline=2000, database=None)
    @given(st.dictionaries(fields, values, max_size=4))
    def check(changes):
        for choose in (
            lambda: choose_net({**CONFIG, **changes}, tensors, 1000),
            lambda: choose_schedule({**SCHEDULER, **changes, "_class_name": "DDPMScheduler"}),
            lambda: choose_prediction(changes),
        ):
            with contextlib.suppress(CheckpointError):
                choose()

    check()


# ---- against diffusers

BASE = {**SMALL, "block_out_channels": (32, 64), "norm_num_groups": 8}
DDPM = {
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
SWITCHES = {
    "defaults": {},
    "ddpm": DDPM,
    "heads_that_leave_channels_out": {"attention_head_dim": 24},
    "scale_shift": {"resnet_time_scale_shift": "scale_shift"},
    "scale_shift_and_normalised_attention": {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 4},
    "no_attention_in_the_middle": {"add_attention": False, "center_input_sample": True, "act_fn": "gelu"},
    "no_middle": {"mid_block_type": None, "dropout": 0.5, "out_channels": 6, "act_fn": "mish"},
    "scaled_middle": {"mid_block_scale_factor": 1.5},
    "learned_timesteps": {"time_embedding_type": "learned", "num_train_timesteps": 1000},
    "classes": {"num_class_embeds": 5, "time_embedding_dim": 48},
    "classes_as_timesteps": {"class_embed_type": "timestep", "act_fn": "swish"},
    "attention_and_resampling_by_convolution": {
        "down_block_types": ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    },
    "attention_and_resampling_by_residual_blocks": {
        "down_block_types": ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "downsample_type": "resnet",
        "upsample_type": "resnet",
    },
    "resampling_by_residual_blocks": {
        "down_block_types": ("ResnetDownsampleBlock2D", "DownBlock2D"),
        "up_block_types": ("ResnetUpsampleBlock2D", "UpBlock2D"),
    },
    "three_levels": {
        "block_out_channels": (32, 32, 64),
        "down_block_types": ("DownBlock2D",) * 3,
        "up_block_types": ("UpBlock2D",) * 3,
        "layers_per_block": 2,
        "act_fn": "relu",
    },
}


def redraw(module) -> None:
    """Draws all weights anew, none zero."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            is_scale = tensor.ndim == 1 and name.endswith("weight")
            deviation = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.2
            tensor.normal_(float(is_scale), deviation, generator=generator)
    module.eval()


def theirs_of(module, images, labels=None) -> np.ndarray:
    import torch

    with torch.no_grad():
        output = module(
            torch.from_numpy(images).movedim(-1, 1),
            torch.from_numpy(TIMESTEPS),
            None if labels is None else torch.from_numpy(labels),
        )
    return output.sample.movedim(1, -1).numpy()


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.standard_normal((len(TIMESTEPS), 16, 16, 3), dtype=np.float32)


@pytest.mark.oracle
@pytest.mark.parametrize("switch", SWITCHES)
def test_output_equals_diffusers(switch, images):
    module = oracles.diffusers().UNet2DModel(**{**BASE, **SWITCHES[switch]})
    redraw(module)
    tensors = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    net = choose_net(json.loads(module.to_json_string()), tensors, 1000)
    labels = np.arange(len(TIMESTEPS)) if net.takes_label else None

    # not jitted: the operations' own compilations are shared by all switches
    apply = jax.vmap(net.apply, in_axes=(None, 0, 0, None if labels is None else 0))
    ours = apply({"params": to_params(tensors, net)}, images, TIMESTEPS, labels)
    theirs = theirs_of(module, images, labels)
    # float32: 6e-8 a rounding, times the gain of some ten layers in a row
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


@pytest.mark.oracle
def test_a_saved_pipeline_predicts_what_diffusers_does(images, tmp_path):
    diffusers = oracles.diffusers()
    module = diffusers.UNet2DModel(**{**BASE, **DDPM})
    redraw(module)
    pipeline = diffusers.DDPMPipeline(module, diffusers.DDPMScheduler())
    pipeline.save_pretrained(tmp_path / "pipeline")
    convert(tmp_path / "pipeline", tmp_path / "out")
    ours = jax.vmap(io.load_prior(tmp_path / "out").eps)(images, TIMESTEPS)
    theirs = theirs_of(module, images)
    # float32: 6e-8 a rounding, times the gain of some ten layers in a row
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


@pytest.mark.oracle
@pytest.mark.parametrize("widths", [(128, 256, 256, 256), (128, 128, 256, 256, 512, 512)])
def test_published_configurations_have_diffusers_parameters(widths):
    torch = pytest.importorskip("torch")

    attends = len(widths) // 2 - 1 if len(widths) == 4 else 4
    kinds = ["AttnDownBlock2D" if level == attends else "DownBlock2D" for level in range(len(widths))]
    ups = [kind.replace("Down", "Up") for kind in reversed(kinds)]
    diffusers = oracles.diffusers()
    with torch.device("meta"):
        module = diffusers.UNet2DModel(block_out_channels=widths, down_block_types=kinds, up_block_types=ups, **DDPM)
    tensors = {name: np.broadcast_to(np.float32(0), tensor.shape) for name, tensor in module.state_dict().items()}
    net = choose_net(json.loads(module.to_json_string()), tensors, 1000)
    assert jax.tree.map(np.shape, to_params(tensors, net)) == jax.tree.map(np.shape, parameter_shapes(net))
