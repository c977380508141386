"""Priors and classifiers on disk: a folder with the arrays (an Orbax checkpoint) and a JSON card."""

import errno
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from reddiff_jax import priors
from reddiff_jax._checks import check_type
from reddiff_jax._files import replacing_folder
from reddiff_jax._text import shown
from reddiff_jax._versions import versions
from reddiff_jax.autoencoders import NetAutoencoder, net_autoencoder
from reddiff_jax.cards import (
    AUTOENCODERS,
    CARD,
    DTYPES,
    FORMAT,
    LOGITS,
    NETS,
    PREDICTIONS,
    WEIGHTS,
    bundled_priors,
    check_files,
    describe_net,
    net_from_card,
    read_card,
    seal,
    write_card,
)
from reddiff_jax.latents import Latent
from reddiff_jax.nets import EncoderUNet, parameter_shapes
from reddiff_jax.priors import NetPrior
from reddiff_jax.schedules import Schedule

__all__ = [
    "CARD",
    "FORMAT",
    "LOGITS",
    "MAX_COMPRESSION",
    "NETS",
    "PREDICTIONS",
    "WEIGHTS",
    "Placement",
    "abstract_params",
    "along_largest_axis",
    "bundled_priors",
    "describe_net",
    "find_prior",
    "load_classifier",
    "load_prior",
    "net_from_card",
    "num_not_finite",
    "read_card",
    "save_classifier",
    "save_prior",
    "seal",
]

MAX_COMPRESSION = 1000
"""The most that arrays beyond a quarter of a gigabyte may unpack to, in bytes of their files; weights hardly pack."""

Placement = Sharding | Callable[[str, tuple[int, ...]], Sharding]
"""Where arrays go: one sharding for all, or ``(path, shape) -> sharding``, e.g. of "params/out_2/kernel"."""


def find_prior(folder: str | Path | None = None) -> Path:
    """Folder of a prior: the given one, or else the bundled prior of that name; `photo` if None."""
    if folder is None:
        return Path(__file__).parent / "data" / "photo"
    return Path(folder) if Path(folder).exists() else bundled_priors().get(str(folder), Path(folder))


def along_largest_axis(mesh: Mesh, axis: str) -> Placement:
    """A placement that splits each array over one axis of a mesh, so that every device holds a share of the parameters.

    Arrays are split along their largest axis that the devices divide, and replicated where there is none.

    Args:
        mesh: Devices.
        axis: Name of the mesh's axis.
    """
    devices = mesh.shape[axis]

    def place(path: str, shape: tuple[int, ...]) -> Sharding:
        divisible = [size if size % devices == 0 else 0 for size in shape]
        largest = int(np.argmax(divisible)) if any(divisible) else None
        return NamedSharding(mesh, PartitionSpec(*(axis if i == largest else None for i in range(len(shape)))))

    return place


def load_prior(
    folder: str | Path | None = None,
    *,
    dtype: Any = jnp.float32,
    remat: bool = False,
    sharding: Placement | None = None,
) -> Any:
    """Loads a prior from its folder; one of latents comes with its autoencoder, as a ``Latent``.

    Args:
        folder: Folder written by ``save_prior``, ``reddiff-jax train`` or the converter, or the name of a bundled
            prior; the bundled `photo` if None.
        dtype: Compute type of the network (parameters are float32 either way).
        remat: Recompute activations in backward passes.
        sharding: Where the arrays go, the first device if None: ``NamedSharding(mesh, PartitionSpec())`` replicates
            them, ``along_largest_axis(mesh, "d")`` splits them. Each device reads its own share from the disk.

    Returns:
        A ``NetPrior``, or a ``Latent`` for ``rd.latent_solver`` and ``rd.default_solver``.

    Raises:
        FileNotFoundError: If there is no prior in the folder.
        ValueError: If its card or its arrays are not what this version can read, or the sharding does not fit them.
    """
    folder = find_prior(folder).absolute()
    card = read_card(folder)
    if card["prediction"] == LOGITS:
        raise ValueError(f"{folder} holds a classifier, not a prior; load it with io.load_classifier.")
    net, stored = _restore(folder, card, dtype=dtype, remat=remat, sharding=sharding)
    prior = NetPrior(
        schedule=Schedule(**stored["schedule"]),
        params=stored["params"],
        net=net,
        to_eps=PREDICTIONS[card["prediction"]],
    )
    if "autoencoder" not in card:
        return prior
    described = card["autoencoder"]
    of_latents = net_autoencoder(
        net_from_card(described["architecture"], dtype=dtype, remat=remat, kinds=AUTOENCODERS),  # type: ignore[arg-type]
        stored["autoencoder"],
        scale=_one_or_all(described["scale"]),
        shift=_one_or_all(described["shift"]),
        gain=described["gain"],
    )
    return Latent(prior, of_latents)


def load_classifier(
    folder: str | Path, *, dtype: Any = jnp.float32, remat: bool = False, sharding: Placement | None = None
) -> tuple[EncoderUNet, Any, Schedule]:
    """Loads a classifier of noisy images: its network, its parameters and the schedule of its noise.

    ``classifier_guided`` takes these three as they are.

    Args:
        folder: Folder written by ``save_classifier`` or the converter.
        dtype: Compute type of the network (parameters are float32 either way).
        remat: Recompute activations in backward passes.
        sharding: Where the arrays go, as in ``load_prior``.

    Raises:
        FileNotFoundError: If there is no card in the folder.
        ValueError: If it is a prior's, or its card or its arrays are not what this version can read.
    """
    folder = Path(folder).absolute()
    card = read_card(folder)
    if card["prediction"] != LOGITS:
        raise ValueError(f"{folder} holds a prior, not a classifier; load it with load_prior.")
    net, stored = _restore(folder, card, dtype=dtype, remat=remat, sharding=sharding)
    return net, stored["params"], Schedule(**stored["schedule"])  # type: ignore[return-value]


def _one_or_all(values: list[float]) -> Any:
    return values[0] if len(values) == 1 else np.asarray(values)


def save_prior(
    prior: NetPrior | Latent, folder: str | Path, *, card: dict[str, Any] | None = None, dtype: Any = jnp.float32
) -> None:
    """Writes a prior to a folder, which appears only when complete and must not exist.

    Args:
        prior: A network prior whose network is one of this package's; or a ``Latent`` of one, with such an autoencoder.
        folder: Where to.
        card: What else the JSON card should say: training data, licences, source, hardware.
        dtype: Type in which parameters are stored; bfloat16 halves the size.

    Raises:
        FileExistsError: If the folder exists.
        TypeError: If the network is not one that a card can describe.
        ValueError: If a weight is not finite.
    """
    of_latents: Any = None
    if isinstance(prior, Latent):
        of_latents, prior = prior.autoencoder, prior.prior  # type: ignore[assignment]
        check_type("save_prior: autoencoder", of_latents, NetAutoencoder, "a network: what rd.net_autoencoder gives")
    check_type("save_prior: prior", prior, NetPrior, "a NetPrior, such as rd.load_prior(), or a Latent of one")
    network: Any = prior
    prediction = _name_of_prediction(network.to_eps)
    _save(network.net, network.params, network.schedule, prediction, Path(folder), card or {}, dtype, of_latents)


def save_classifier(
    net: EncoderUNet,
    params: Any,
    schedule: Schedule,
    folder: str | Path,
    *,
    card: dict[str, Any] | None = None,
    dtype: Any = jnp.float32,
) -> None:
    """Writes a classifier of noisy images to a folder, which appears only when complete and must not exist.

    Args:
        net: The classifier.
        params: Its parameters.
        schedule: The schedule of the noise that it was trained on.
        folder: Where to.
        card: What else the JSON card should say.
        dtype: Type in which parameters are stored.

    Raises:
        FileExistsError: If the folder exists.
    """
    _save(net, params, schedule, LOGITS, Path(folder), card or {}, dtype)


def abstract_params(net: Any) -> Any:
    """Shapes of a network's parameters, without computing any."""
    return parameter_shapes(net)


def _restore(
    folder: Path, card: dict[str, Any], *, dtype: Any, remat: bool, sharding: Placement | None
) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a card, and its parameters and schedule."""
    import orbax.checkpoint as ocp

    # Orbax fails in many ways on damaged files, or not at all.
    check_files(folder, card)
    net = net_from_card(card["architecture"], dtype=dtype, remat=remat)
    num_timesteps = int(card["schedule"]["num_timesteps"])
    stored_dtype = jnp.dtype(card["stored_dtype"])
    table = jax.ShapeDtypeStruct((num_timesteps,), jnp.float32)
    # Those that come with the package fit their cards, by a test; to trace a network takes a quarter of a second.
    is_known = folder in bundled_priors().values()
    needed: dict[str, Any] = {"params": _stored_shapes(folder) if is_known else _shapes_of(folder, net)}
    if "autoencoder" in card:
        architecture = card["autoencoder"]["architecture"]
        needed["autoencoder"] = _shapes_of(folder, net_from_card(architecture, kinds=AUTOENCODERS))
    needed = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, stored_dtype), needed)
    _check_size(folder, card, needed)
    abstract = _placed({**needed, "schedule": {"alphas": table, "sigmas": table}}, sharding)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            # Checked before reading: if Orbax stops halfway it leaves coroutines behind, which warn later.
            if not is_known:
                _check_fit(checkpointer.metadata(folder / WEIGHTS).item_metadata, abstract)
            # Cast while they are read: JAX would compile a program for each shape.
            stored = checkpointer.restore(folder / WEIGHTS, jax.tree.map(_in_float32, abstract))
    except Exception as error:  # Orbax raises plain Exceptions for damaged files
        reason = shown((str(error).strip().splitlines() or [type(error).__name__])[0])
        raise ValueError(f"the weights in {folder} do not fit their card ({reason}).") from error
    for name, count in _not_finite(stored):
        raise ValueError(f"the weights in {folder} are no prior's: {count:,} numbers of {name} are not finite.")
    return net, stored


def _save(
    net: nn.Module,
    params: Any,
    schedule: Schedule,
    prediction: str,
    folder: Path,
    card: dict[str, Any],
    dtype: Any,
    of_latents: NetAutoencoder | None = None,
) -> None:
    import shutil

    import orbax.checkpoint as ocp

    folder = folder.absolute()
    if os.path.lexists(folder):  # before the work
        raise FileExistsError(f"{folder} exists already; choose another folder or remove it.")
    if jnp.dtype(dtype).name not in DTYPES:
        raise ValueError(f"dtype is {jnp.dtype(dtype).name} but parameters are stored as {', '.join(DTYPES)}.")
    described = {
        **card,
        "format": FORMAT,
        "architecture": describe_net(net),
        "schedule": {**card.get("schedule", {}), "num_timesteps": schedule.num_timesteps},
        "prediction": prediction,
        "value_range": [-1, 1],
        "stored_dtype": jnp.dtype(dtype).name,
        "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "versions": versions(),
    }
    net_from_card(json.loads(json.dumps(described["architecture"])))  # what cannot be read back is not written
    arrays: dict[str, Any] = {
        "params": jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params),
        "schedule": {"alphas": jnp.asarray(schedule.alphas), "sigmas": jnp.asarray(schedule.sigmas)},
    }
    if of_latents is not None:
        described["autoencoder"] = _describe_autoencoder(of_latents)
        net_from_card(json.loads(json.dumps(described["autoencoder"]["architecture"])), kinds=AUTOENCODERS)
        arrays["autoencoder"] = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), of_latents.params)
        described["num_parameters"] += sum(leaf.size for leaf in jax.tree.leaves(of_latents.params))
    for name, count in _not_finite(arrays):
        raise ValueError(
            f"{count:,} numbers of {name} are not finite in {jnp.dtype(dtype).name}; nothing was written. Take weights "
            "from before the training diverged, or a dtype of a larger range."
        )
    with replacing_folder(folder) as partial:
        needed, free = described["num_parameters"] * jnp.dtype(dtype).itemsize, shutil.disk_usage(partial).free
        if free < needed:  # Orbax would find out late, and print hundreds of lines
            reason = f"{needed / 1e6:.0f} MB are needed but only {free / 1e6:.0f} MB of the disk are free"
            raise OSError(errno.ENOSPC, reason, str(folder))
        # Without a limit Orbax copies all arrays before it writes the first; one array must fit.
        limit = 1 + max(leaf.nbytes for leaf in jax.tree.leaves(arrays)) // 10**9
        with ocp.Checkpointer(ocp.StandardCheckpointHandler(save_concurrent_gb=limit)) as checkpointer:
            checkpointer.save(partial / WEIGHTS, args=ocp.args.StandardSave(arrays))
        marker = partial / WEIGHTS / "commit_success.txt"
        if marker.exists():  # Orbax writes the path on this machine into it
            marker.write_text("Checkpoint commit was successful\n")
        write_card(partial, described)


def _describe_autoencoder(autoencoder: NetAutoencoder) -> dict[str, Any]:
    """The card's entry: the network, and the numbers that belong to it."""

    def listed(value: jax.Array | None, neutral: float) -> list[float]:
        return [neutral] if value is None else np.ravel(np.asarray(value, float)).tolist()

    return {
        "architecture": describe_net(autoencoder.net),
        "scale": listed(autoencoder.scale, 1.0),
        "shift": listed(autoencoder.shift, 0.0),
        "gain": float(autoencoder.gain),
    }


def _shapes_of(folder: Path, net: nn.Module) -> Any:
    try:
        return abstract_params(net)
    except (ValueError, TypeError, ArithmeticError, IndexError) as error:
        reason = shown((str(error).strip().splitlines() or [type(error).__name__])[0])
        raise ValueError(f"the card of {folder} makes no {type(net).__name__} ({reason}).") from error


def _stored_shapes(folder: Path) -> Any:
    """Shapes of the parameters that a folder holds, whatever its card says."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        found: Any = checkpointer.metadata(folder / WEIGHTS).item_metadata
    return found.tree["params"]


def _check_size(folder: Path, card: dict[str, Any], params: Any) -> None:
    """Raises ValueError if the arrays are more than the files can hold."""
    needed = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    stored = sum(entry["bytes"] for entry in card["files"].values())
    if needed > max(2**28, MAX_COMPRESSION * stored):
        raise ValueError(
            f"the weights in {folder} do not fit their card (its architecture has {needed:,} bytes, which files of "
            f"{stored:,} bytes cannot hold)."
        )


def num_not_finite(array: jax.Array) -> int:
    """How many numbers of an array are NaN or infinite, of the part that this process holds."""
    # NumPy: a JAX function would be compiled for each shape.
    parts = [np.asarray(part) for part in {str(each.index): each.data for each in array.addressable_shards}.values()]
    return sum(int((~np.isfinite(part)).sum()) for part in parts if not _is_finite(part))


def _is_finite(array: np.ndarray) -> bool:
    # Extremes are NaN or infinite if any number is, and take no memory.
    return array.size == 0 or bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _not_finite(arrays: Any) -> list[tuple[str, int]]:
    """Names of the arrays with numbers that are NaN or infinite, and how many they have."""
    counts = [
        ("/".join(str(key.key) for key in path), num_not_finite(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)
    ]
    return [(name, count) for name, count in counts if count]


def _placed(abstract: Any, sharding: Placement | None) -> Any:
    """Shapes with their shardings."""
    default = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def place(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        name = "/".join(key.key for key in path)
        chosen = default if isinstance(default, Sharding) else default(name, leaf.shape)
        try:
            chosen.shard_shape(leaf.shape)
        except (ValueError, IndexError) as error:  # JAX raises the latter where axes are lacking
            raise ValueError(
                f"{name} of shape {leaf.shape} cannot be placed as {chosen}; give a function "
                "(path, shape) -> sharding, e.g. io.along_largest_axis(mesh, axis)."
            ) from error
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=chosen)

    return jax.tree_util.tree_map_with_path(place, abstract)


def _in_float32(abstract: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(abstract.shape, jnp.float32, sharding=abstract.sharding)


def _check_fit(stored: Any, needed: Any) -> None:
    """Raises ValueError at the first array that is missing, left over or of another shape or type."""
    stored, needed = (
        {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (getattr(stored, "tree", stored), needed)
    )
    for name in sorted(stored.keys() | needed.keys()):
        found, expected = (getattr(tree.get(name), "shape", None) for tree in (stored, needed))
        if found != expected:
            raise ValueError(f"{name} has shape {found}, needed is {expected}")
    for name in sorted(needed):
        found, expected = (jnp.dtype(tree[name].dtype) for tree in (stored, needed))
        if found != expected:
            raise ValueError(f"{name} is {found}, but stored_dtype says {expected}")


def _name_of_prediction(to_eps: priors.ToEps) -> str:
    for name, known in PREDICTIONS.items():
        if known is to_eps:
            return name
    raise TypeError(f"a card cannot describe the prediction {to_eps!r}; it knows {', '.join(PREDICTIONS)}.")
