"""A prior as a folder for packages of PyTorch: weights by PyTorch's names in safetensors, and configurations."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax._checks import check_type
from reddiff_jax._files import replacing_folder
from reddiff_jax.cards import describe_net
from reddiff_jax.converting.diffusers import CONFIG, PREDICTIONS, SCHEDULER, WEIGHTS
from reddiff_jax.converting.residual_unet import Layout
from reddiff_jax.nets import DiffusersUNet, ResidualUNet, UNet
from reddiff_jax.priors import NetPrior, ToEps, from_eps, from_v, from_velocity, from_x0
from reddiff_jax.schedules import Schedule, rectified_flow

_NAMES: dict[ToEps, str] = {from_eps: "eps", from_x0: "x0", from_v: "v"}
# Of guided-diffusion's attention, whose products are stored as convolutions of one axis.
_CONVOLUTIONS_OF_TOKENS = ("qkv", "proj_out")


def save_safetensors(prior: NetPrior, folder: str | Path) -> None:
    """Writes a prior for packages of PyTorch, to a folder that appears only when complete and must not exist.

    config.json, scheduler_config.json and the weights in safetensors, by PyTorch's names, in float32. A
    ``nets.DiffusersUNet`` is a folder of diffusers: ``UNet2DModel.from_pretrained(folder)`` and
    ``DDPMScheduler.from_pretrained(folder)`` open it, and ``reddiff-jax convert`` does. A ``nets.UNet`` has the names
    of guided-diffusion, which azula and deepinv load; a ``nets.ResidualUNet`` those of its own PyTorch network.

    Args:
        prior: A network prior whose network is one of these.
        folder: Where to.

    Raises:
        FileExistsError: If the folder exists.
        TypeError: If the network has no counterpart in PyTorch, or predicts what diffusers has no name for.
        ValueError: If diffusers has no scheduler for the schedule, or the network folds patches into channels as
            guided-diffusion does not.
    """
    check_type("save_safetensors: prior", prior, NetPrior, "a NetPrior, such as rd.load_prior()")
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; choose another folder or remove it.")
    scheduler = scheduler_config(prior.schedule, prior.to_eps)
    tensors = to_state_dict(prior.net, prior.params)
    of_diffusers = isinstance(prior.net, DiffusersUNet)
    config = describe_net(prior.net)
    kind = config.pop("type")
    config = {"_class_name": "UNet2DModel" if of_diffusers else kind, **config}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder) as partial:
        for name, content in ((CONFIG, config), (SCHEDULER, scheduler)):
            (partial / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        write_safetensors(partial / (f"{WEIGHTS}.safetensors" if of_diffusers else "model.safetensors"), tensors)


def to_state_dict(net: Any, params: Any) -> dict[str, np.ndarray]:
    """A network's parameters by PyTorch's names, in PyTorch's order of axes and float32.

    Raises:
        TypeError: If the network has no counterpart in PyTorch.
        ValueError: If a UNet folds patches into channels, which guided-diffusion does not.
    """
    if isinstance(net, ResidualUNet):
        return Layout(net).to_torch(params)
    if not isinstance(net, UNet | DiffusersUNet):
        raise TypeError(
            f"save_safetensors: prior has a {type(net).__name__}, which has no counterpart in PyTorch; these have one: "
            "DiffusersUNet, UNet, ResidualUNet."
        )
    if getattr(net, "patch_size", 1) != 1:
        raise ValueError(
            f"save_safetensors: prior's UNet folds patches of {net.patch_size} pixels into channels, which "  # type: ignore
            "guided-diffusion's does not; train with --patch 1, or --net residual."
        )
    tensors = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        *groups, last = (str(key.key) for key in path)
        array = np.asarray(leaf, np.float32)
        if last == "kernel" and array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)  # (O, I, kh, kw)
        elif last == "kernel":
            of_tokens = isinstance(net, UNet) and groups[-1] in _CONVOLUTIONS_OF_TOKENS
            array = array.T[:, :, None] if of_tokens else array.T  # (O, I, 1) or (O, I)
        # diffusers numbers the layers of an embedding within their names.
        named = [re.sub(r"(?<!linear)_(\d+)", r".\1", group) for group in groups]
        tensors[".".join([*named, "bias" if last == "bias" else "weight"])] = np.ascontiguousarray(array)
    return tensors


def scheduler_config(schedule: Schedule, to_eps: ToEps) -> dict[str, Any]:
    """Diffusers' configuration of a schedule and a prediction: DDPM with these betas, or flow matching.

    Raises:
        TypeError: If diffusers has no name for the prediction.
        ValueError: If it has no scheduler for the schedule.
    """
    alphas, sigmas = (np.asarray(each, np.float64) for each in (schedule.alphas, schedule.sigmas))
    total = alphas.size
    if to_eps is from_velocity and np.allclose(sigmas, np.asarray(rectified_flow(total).sigmas), atol=1e-6):
        return {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": total, "shift": 1.0}
    if to_eps not in _NAMES:
        raise TypeError(
            f"save_safetensors: prior has to_eps={getattr(to_eps, '__name__', to_eps)}, for which diffusers has no "
            "name on this schedule; it has names for from_eps, from_x0 and from_v."
        )
    if not np.allclose(alphas**2 + sigmas**2, 1, atol=1e-5):
        raise ValueError(
            "save_safetensors: prior's schedule does not preserve the variance, and diffusers' DDPMScheduler has no "
            "other; save_prior keeps any schedule."
        )
    # Of both scales the one whose square is far from 1 tells the logarithm exactly.
    log_alphas_cumprod = np.where(sigmas < 0.7, np.log1p(-(np.minimum(sigmas, 0.9) ** 2)), 2 * np.log(alphas))
    betas = -np.expm1(np.diff(log_alphas_cumprod, prepend=0.0))
    names = {ours: theirs for theirs, ours in PREDICTIONS.items()}
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": total,
        "prediction_type": names[_NAMES[to_eps]],
        "trained_betas": betas.tolist(),
        "clip_sample": True,
    }


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes arrays of float32 by name."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            file.write(array.astype("<f4").tobytes())
