"""Folders of diffusers' ``UNet2DModel``: config.json, scheduler_config.json and the weights; diffusers is not needed.

A configuration comes from a stranger, so each field is checked against what the network knows before anything is built.

Source:
    diffusers' documentation of ``UNet2DModel`` and of its schedulers.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax import _rules, schedules
from reddiff_jax._rules import Rule, list_of, number, one_of, record, show_value, whole
from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.converting.parameters import fill, shorten, target
from reddiff_jax.nets import (
    AutoencoderKL,
    AutoencoderNet,
    AutoencoderTiny,
    ConditionalUNet,
    DiffusersUNet,
    VQModel,
)
from reddiff_jax.nets.rules import (
    AUTOENCODER_KL,
    AUTOENCODER_TINY,
    CONDITIONAL_UNET,
    DIFFUSERS_UNET,
    VQ_MODEL,
    num_blocks,
)
from reddiff_jax.schedules import Schedule

CONFIG, SCHEDULER = "config.json", "scheduler_config.json"
WEIGHTS = "diffusion_pytorch_model"
# With a variant's name in it, or in parts. Of two formats of the same weights the first is taken.
WEIGHTS_NAME = re.compile(
    rf"{WEIGHTS}(?:\.(?P<variant>\w+))?(?:\.(?P<format>safetensors|bin))(?P<parts>\.index\.json)?"
)
_FORMATS = ("safetensors", "bin")
ROUNDED = ("fp16", "bf16")  # variants that are the same weights in fewer bits
PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
# Those that index the same table of alphas_cumprod.
SCHEDULERS = tuple(
    f"{name}Scheduler"
    for name in (
        *("DDPM", "DDPMParallel", "DDIM", "DDIMParallel", "DDIMInverse", "PNDM", "RePaint", "SASolver"),
        *("DEISMultistep", "DPMSolverMultistep", "DPMSolverMultistepInverse", "DPMSolverSinglestep", "UniPCMultistep"),
        *("EulerDiscrete", "EulerAncestralDiscrete", "LMSDiscrete", "HeunDiscrete", "LCM", "TCD"),
        *("KDPM2Discrete", "KDPM2AncestralDiscrete"),
    )
)
_LATENT_BETAS = {"beta_start": 0.00085, "beta_end": 0.012}
# What schedulers take for fields that are left out, where it is not a linear beta of 1e-4 to 2e-2.
_DEFAULTS = {
    **{f"{name}Scheduler": _LATENT_BETAS for name in ("HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete")},
    **{f"{name}Scheduler": {**_LATENT_BETAS, "beta_schedule": "scaled_linear"} for name in ("LCM", "TCD")},
}
FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
# What UNet2DConditionModel may say, and what of it is no other network.
_FIXED_CONDITIONAL = {
    "mid_block_type": one_of("UNetMidBlock2DCrossAttn"),
    "act_fn": one_of("silu"),
    "transformer_layers_per_block": one_of(1),
    "mid_block_scale_factor": one_of(1, 1.0),
    "resnet_out_scale_factor": one_of(1, 1.0),
    "resnet_time_scale_shift": one_of("default"),
    "time_embedding_type": one_of("positional"),
    "attention_type": one_of("default"),
    "conv_in_kernel": one_of(3),
    "conv_out_kernel": one_of(3),
}
# Heads of an embedding that is not there, dropout in training, and the precision of a softmax, which is float32 here.
_HARMLESS_CONDITIONAL = {"addition_embed_type_num_heads", "dropout", "upcast_attention"}
AUTOENCODER_FOLDERS = ("vae", "vqvae", "movq")
_AUTOENCODERS: dict[str, tuple[type[AutoencoderNet], Mapping[str, Rule], float]] = {
    # The network, its rules, and the scale of latents where none is said.
    "AutoencoderKL": (AutoencoderKL, AUTOENCODER_KL, 0.18215),
    "AutoencoderTiny": (AutoencoderTiny, AUTOENCODER_TINY, 1.0),
    "VQModel": (VQModel, VQ_MODEL, 0.18215),
}
# What an autoencoder's configuration may say beside its network.
_BESIDE_AUTOENCODER = {
    "scaling_factor": number(1e-6, 1e6),
    "shift_factor": number(-1e6, 1e6).or_null(),
    "norm_type": one_of("group"),
    "upsample_fn": one_of("nearest"),
    "upsampling_scaling_factor": one_of(2),
}
# Of pictures' sizes, of half precision, and of latents stored in 8 bits.
_HARMLESS_OF_AUTOENCODERS = {"sample_size", "force_upcast", "latent_magnitude", "latent_shift"}
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
# Fields of the picture's size and of the averaging of weights.
_HARMLESS = {
    *("sample_size", "decay", "min_decay", "optimization_step", "update_after_step"),
    *("use_ema_warmup", "inv_gamma", "power"),
}
_MAX_JSON = 10_000_000  # bytes
_MAX_TIMESTEPS = 100_000
_TENSORS_OF_A_BLOCK = 10


@dataclass(frozen=True)
class Files:
    """Where a network's files are; a scheduler's may be absent."""

    config: Path
    weights: Path
    scheduler: Path | None


_BETA = number(1e-12, 1 - 1e-6)
_SCHEDULER_RULES = {
    "_class_name": one_of(*SCHEDULERS, *FLOW),
    "num_train_timesteps": whole(1, _MAX_TIMESTEPS),
    "beta_start": _BETA,
    "beta_end": _BETA,
    "beta_schedule": one_of("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"),
    "trained_betas": list_of(_BETA, 1, _MAX_TIMESTEPS).or_null(),
    "rescale_betas_zero_snr": one_of(False, True).or_null(),
}


def find_files(folder: str | Path, weights: str | None = None) -> Files:
    """Finds the files of a network's folder, or of a pipeline's with ``unet/`` and ``scheduler/``.

    Args:
        folder: The folder.
        weights: Which of several sets of weights: the path of its file below the folder, or the name of its variant
            ("fp16", "non_ema") or of its folder ("unet_ema"). None where only one can be meant.

    Raises:
        CheckpointError: If the configuration or the weights are not there, or several sets of weights are.
    """
    folder = Path(folder)
    roots = [root for root in (folder, folder / "unet_ema", folder / "unet") if (root / CONFIG).is_file()]
    if not roots:
        raise CheckpointError(
            f"a folder of diffusers has {CONFIG}, or a unet/ that has it; this one has "
            f"{shorten(sorted(each.name for each in folder.iterdir())) or 'nothing'}."
        )
    found = [path for root in roots for path in _weight_files(root)]
    if not found:
        others = shorten(sorted(each.name for each in roots[0].iterdir() if each.name != CONFIG))
        raise CheckpointError(
            f"beside {CONFIG} is neither {' nor '.join(f'{WEIGHTS}.{each}' for each in _FORMATS)} "
            f"(but {others or 'nothing'}); download the weights, too."
        )
    chosen = _choose(folder, found, weights)
    candidates = [folder / SCHEDULER, folder / "scheduler" / SCHEDULER]
    return Files(chosen.parent / CONFIG, chosen, next((each for each in candidates if each.is_file()), None))


def find_autoencoder(folder: str | Path, weights: str | None = None) -> Files | None:
    """Finds the autoencoder's files in the folder of a pipeline that diffuses latents; None if it has none.

    Args:
        folder: The pipeline's folder.
        weights: As for ``find_files``; a variant is taken here, too, where there is one.

    Raises:
        CheckpointError: If the configuration or the weights are not there, or several sets of weights are.
    """
    folder = Path(folder)
    roots = [folder / name for name in AUTOENCODER_FOLDERS if (folder / name).is_dir()]
    if not roots:
        return None
    root = roots[0]
    found = _weight_files(root)
    if not found or not (root / CONFIG).is_file():
        raise CheckpointError(f"{root.name}/ lacks {CONFIG} or its {WEIGHTS}.safetensors; download the whole pipeline.")
    named = [path for path in found if weights is not None and weights == _kind(path)["variant"]]
    return Files(root / CONFIG, _choose(folder, named or found, None), None)


def _weight_files(root: Path) -> list[Path]:
    """The weights in a folder: of the two formats of one set, the first."""
    found: dict[tuple[str | None, bool], list[Path]] = {}
    for path in sorted(root.iterdir()):
        match = WEIGHTS_NAME.fullmatch(path.name)
        if match and path.is_file():
            found.setdefault((match["variant"], bool(match["parts"])), []).append(path)
    return [min(paths, key=lambda path: _FORMATS.index(_kind(path)["format"])) for paths in found.values()]


def _kind(path: Path) -> re.Match[str]:
    match = WEIGHTS_NAME.fullmatch(path.name)
    assert match is not None
    return match


def _choose(folder: Path, found: list[Path], weights: str | None) -> Path:
    names = {path: path.relative_to(folder).as_posix() for path in found}
    if weights is not None:
        fits = [path for path in found if names[path] == weights] or [
            path for path in found if weights in (_kind(path)["variant"], path.parent.name)
        ]
        if len(fits) == 1:
            return fits[0]
        raise CheckpointError(
            f"there is no single set of weights {show_value(weights)}; --weights is one of {', '.join(names.values())}."
        )
    exact = [path for path in found if _kind(path)["variant"] not in ROUNDED] or found
    if len(exact) == 1:
        return exact[0]
    choice = " or ".join(f"--weights {names[path]}" for path in exact)
    hint = " Published samples are drawn with averaged weights, those of unet_ema/." if "unet_ema" in choice else ""
    raise CheckpointError(f"there are {len(exact)} sets of weights; say {choice}.{hint}")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a configuration.

    Raises:
        CheckpointError: If it is no JSON object, or too large to be one.
    """
    if path.stat().st_size > _MAX_JSON:
        raise CheckpointError(f"{path.name} has {path.stat().st_size} bytes, which no configuration has.")
    try:
        content = _rules.read_json(path.read_bytes(), limit=_MAX_JSON)
    except _rules.JsonError as error:
        raise CheckpointError(f"{path.name} is damaged ({error}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name} is no configuration: it holds a {type(content).__name__}.")
    return content


def choose_net(
    config: Mapping[str, Any], tensors: Mapping[str, np.ndarray], num_timesteps: int
) -> DiffusersUNet | ConditionalUNet:
    """The network that a config.json describes.

    Args:
        config: Its content.
        tensors: The weights, which bound how many blocks there can be.
        num_timesteps: Number of timesteps of the schedule, which a table of timesteps must cover.

    Raises:
        CheckpointError: If it describes another network, or one with parts that are not known here.
    """
    if config.get("_class_name") in [*_AUTOENCODERS]:  # compared, not hashed: it may be anything
        raise CheckpointError(
            f"{CONFIG} is of an {config['_class_name']}, which is no prior by itself; give the folder of the whole "
            "pipeline, with its unet/ and scheduler/."
        )
    if config.get("_class_name") == "UNet2DConditionModel":
        return _choose_conditional(config, tensors)
    if config.get("_class_name") != "UNet2DModel":
        raise CheckpointError(
            f"{CONFIG} is of {show_value(config.get('_class_name'))}; only UNet2DModel and UNet2DConditionModel can be "
            "converted."
        )
    config = dict(config)
    for name in ("down_block_types", "up_block_types"):
        if isinstance(config.get(name), list):  # the first versions' names
            config[name] = [kind.removeprefix("UNetRes") if isinstance(kind, str) else kind for kind in config[name]]
    _check_known(config, {*DIFFUSERS_UNET, *_HARMLESS}, CONFIG)
    net = DiffusersUNet(**_arguments(_checked(config, DIFFUSERS_UNET, CONFIG)))
    _check_levels(net, tensors)
    if net.freq_shift >= net.block_out_channels[0] // 2:
        raise CheckpointError(f"{CONFIG} says freq_shift={net.freq_shift}, but its first width is too small for that.")
    if net.time_embedding_type == "learned" and (net.num_train_timesteps or 0) < num_timesteps:
        raise CheckpointError(
            f"{CONFIG} has learned embeddings of {net.num_train_timesteps or 0} timesteps (num_train_timesteps), but "
            f"the schedule has {num_timesteps}."
        )
    return net


def _choose_conditional(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> ConditionalUNet:
    """The network of a text-conditional pipeline."""
    known = {*CONDITIONAL_UNET, *_FIXED_CONDITIONAL, *_HARMLESS, *_HARMLESS_CONDITIONAL}
    _check_known(config, known, CONFIG)
    _checked(config, _FIXED_CONDITIONAL, CONFIG)
    net = ConditionalUNet(**_arguments(_checked(config, CONDITIONAL_UNET, CONFIG)))
    _check_levels(net, tensors)
    heads = net.attention_head_dim
    if isinstance(heads, tuple) and len(heads) != len(net.block_out_channels):
        raise CheckpointError(
            f"{CONFIG} has {len(heads)} numbers in attention_head_dim, but {len(net.block_out_channels)} levels."
        )
    return net


def _check_levels(net: DiffusersUNet | ConditionalUNet, tensors: Mapping[str, np.ndarray]) -> None:
    """Raises CheckpointError unless levels have all that they need, and the weights are enough tensors for them."""
    levels, downs, ups = map(len, (net.block_out_channels, net.down_block_types, net.up_block_types))
    if not levels == downs == ups:
        raise CheckpointError(
            f"{CONFIG} has {levels} block_out_channels, {downs} down_block_types and {ups} up_block_types; each level "
            "needs one of each."
        )
    blocks = levels * (2 * net.layers_per_block + 1)
    if _TENSORS_OF_A_BLOCK * blocks > len(tensors):
        raise CheckpointError(
            f"{CONFIG} describes {blocks} residual blocks, but the weights are {len(tensors)} tensors."
        )


def choose_autoencoder(
    config: Mapping[str, Any], tensors: Mapping[str, np.ndarray], unet: DiffusersUNet | ConditionalUNet, file: str
) -> tuple[AutoencoderNet, float, float]:
    """The autoencoder that a config.json describes, and scale and shift of its latents.

    Args:
        config: Its content.
        tensors: The weights, which bound how many blocks there can be.
        unet: The network that diffuses its latents.
        file: The file's name, for errors.

    Raises:
        CheckpointError: If it describes another network, or latents of other channels.
    """
    name = config.get("_class_name")
    if not isinstance(name, str) or name not in _AUTOENCODERS:
        raise CheckpointError(
            f"{file} is of {show_value(name)}; this converter knows the autoencoders {', '.join(_AUTOENCODERS)}."
        )
    kind, rules, default_scale = _AUTOENCODERS[name]
    config = dict(config)
    if name == "AutoencoderTiny":
        config.pop("block_out_channels", None)  # a copy of decoder_block_out_channels
    _check_known(config, {*rules, *_BESIDE_AUTOENCODER, *_HARMLESS_OF_AUTOENCODERS}, file)
    beside = _checked(config, _BESIDE_AUTOENCODER, file)
    net = kind(**_arguments(_checked(config, rules, file)))
    blocks = num_blocks(net)
    if blocks > len(tensors):
        raise CheckpointError(f"{file} describes {blocks} residual blocks, but the weights are {len(tensors)} tensors.")
    channels = getattr(net, "vq_embed_dim", None) or net.latent_channels
    if not channels == unet.in_channels == unet.out_channels:
        raise CheckpointError(
            f"{file} has latents of {channels} channels, but the unet takes {unet.in_channels} and predicts "
            f"{unet.out_channels}; this converter knows models where all three agree."
        )
    return net, beside.get("scaling_factor", default_scale), beside.get("shift_factor") or 0.0


def _check_known(config: Mapping[str, Any], known: Collection[str], file: str) -> None:
    """Raises CheckpointError for fields that are not known and may change the network."""
    unknown = [
        name
        for name, value in config.items()
        if name not in known and not name.startswith("_") and value not in (None, False)
    ]
    if unknown:
        raise CheckpointError(
            f"{file} has fields that this converter does not know ({shorten(unknown)}); delete them from it if they "
            "do not change the network."
        )


def _arguments(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def to_params(
    tensors: Mapping[str, np.ndarray], net: DiffusersUNet | ConditionalUNet | AutoencoderNet
) -> dict[str, Any]:
    """Maps a state dict to the parameters of a network, one to one; see ``parameters.fill``."""
    return fill(net, tensors, remedy=f"Check that {CONFIG} and the weights belong together.", target=_target)


def choose_schedule(config: Mapping[str, Any]) -> tuple[str, Schedule]:
    """The schedule that a scheduler_config.json describes: its name in words, and its table.

    Raises:
        CheckpointError: If it is of a scheduler that is not known here, or its values make no schedule.
    """
    fields = _checked(config, _SCHEDULER_RULES, SCHEDULER)
    if "_class_name" not in fields:
        raise CheckpointError(f"{SCHEDULER} does not name its scheduler (_class_name); say --schedule.")
    total = fields.get("num_train_timesteps", 1000)
    if fields["_class_name"] in FLOW:
        # A scheduler's shift says which levels a sampler visits; the network is given T s for each.
        return "rectified flow", schedules.rectified_flow(total)
    name, table = _table(_DEFAULTS.get(fields["_class_name"], {}) | fields, total)
    if fields.get("rescale_betas_zero_snr"):
        return f"{name}, shifted to no signal at the last timestep, which is left out", schedules.zero_terminal_snr(
            table
        )
    return name, table


def _table(fields: Mapping[str, Any], total: int) -> tuple[str, Schedule]:
    betas = fields.get("trained_betas")
    if betas is not None:
        if len(betas) != total:
            raise CheckpointError(f"{SCHEDULER} has {len(betas)} trained_betas but num_train_timesteps={total}.")
        return "trained betas", schedules.from_betas(np.asarray(betas))
    name = fields.get("beta_schedule", "linear")
    if name == "squaredcos_cap_v2":
        return "cosine", schedules.cosine(total)
    if name == "laplace":
        return "laplace", schedules.laplace(total)
    make = {"linear": schedules.linear, "scaled_linear": schedules.quad, "sigmoid": schedules.sigmoid}[name]
    ends = {"beta_start": fields.get("beta_start", 1e-4), "beta_end": fields.get("beta_end", 2e-2)}
    return f"{name} beta {ends['beta_start']:g}..{ends['beta_end']:g}", make(total, **ends)


def choose_prediction(config: Mapping[str, Any]) -> str:
    """The network's prediction according to a scheduler_config.json, one of ``io.PREDICTIONS``; a flow's is velocity.

    Raises:
        CheckpointError: If it is none of ``PREDICTIONS``.
    """
    if config.get("_class_name") in FLOW:
        return "velocity"
    name = config.get("prediction_type", "sample" if config.get("predict_epsilon") is False else "epsilon")
    if not isinstance(name, str) or name not in PREDICTIONS:
        raise CheckpointError(
            f"{SCHEDULER} says prediction_type={show_value(name)}; this converter knows {', '.join(PREDICTIONS)}."
        )
    return PREDICTIONS[name]


def _checked(config: Mapping[str, Any], rules: Mapping[str, Rule], file: str) -> dict[str, Any]:
    """Returns the fields that have rules, checked."""
    for refusal in record({}, optional=rules).refusals(dict(config)):
        name = refusal.field.partition("[")[0]
        raise CheckpointError(f"{file} says {name}={show_value(refusal.value)}; this converter knows {refusal.needed}.")
    return {name: config[name] for name in rules if name in config}


def _target(name: str, tensor: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Where a tensor goes; attention's tensors may have their names from before version 0.15."""
    renamed = re.sub(r"(\.attentions\.\d+\.)(query|key|value|proj_attn)(?=\.)", lambda m: m[1] + _OLD_NAMES[m[2]], name)
    return target(renamed, tensor)
