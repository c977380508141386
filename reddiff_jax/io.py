"""Priors and classifiers on disk: a folder with the arrays (an Orbax checkpoint) and a JSON card."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from reddiff_jax import priors
from reddiff_jax.nets import DiffusersUNet, EncoderUNet, ResidualUNet, UNet, parameter_shapes
from reddiff_jax.priors import NetPrior
from reddiff_jax.schedules import Schedule

CARD = "card.json"
WEIGHTS = "weights"
FORMAT = 1
NETS: dict[str, type[nn.Module]] = {
    "UNet": UNet,
    "EncoderUNet": EncoderUNet,
    "DiffusersUNet": DiffusersUNet,
    "ResidualUNet": ResidualUNet,
}
PREDICTIONS = {
    "eps": priors.from_eps,
    "x0": priors.from_x0,
    "v": priors.from_v,
    "score": priors.from_score,
}
LOGITS = "logits"  # what a classifier predicts

Placement = Sharding | Callable[[str, tuple[int, ...]], Sharding]
"""Where arrays go: one sharding for all, or ``(path, shape) -> sharding``, e.g. of "params/out_2/kernel"."""

_RUNTIME_FIELDS = {"parent", "name", "dtype", "remat"}


def bundled_priors() -> dict[str, Path]:
    """Folders of the priors that come with the package, by name; the first is the default, `photo64`."""
    folders = sorted(card.parent for card in (Path(__file__).parent / "data").glob(f"*/{CARD}"))
    return {folder.name: folder for folder in sorted(folders, key=lambda folder: folder.name != "photo64")}


def find_prior(folder: str | Path | None = None) -> Path:
    """Folder of a prior: the given one, or else the bundled prior of that name; `photo64` if None."""
    if folder is None:
        return Path(__file__).parent / "data" / "photo64"
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
) -> NetPrior:
    """Loads a prior from its folder.

    Args:
        folder: Folder written by ``save_prior``, ``reddiff-jax train`` or the converter, or the name of a bundled
            prior; the bundled `photo64` if None.
        dtype: Compute type of the network (parameters are float32 either way).
        remat: Recompute activations in backward passes.
        sharding: Where the arrays go, the first device if None: ``NamedSharding(mesh, PartitionSpec())`` replicates
            them, ``along_largest_axis(mesh, "d")`` splits them. Each device reads its own share from the disk.

    Raises:
        FileNotFoundError: If there is no prior in the folder.
        ValueError: If its card or its arrays are not what this version can read, or the sharding does not fit them.
    """
    folder = find_prior(folder).absolute()
    card = read_card(folder)
    if card["prediction"] == LOGITS:
        raise ValueError(f"{folder} holds a classifier, not a prior; load it with io.load_classifier.")
    net, stored = _restore(folder, card, dtype=dtype, remat=remat, sharding=sharding)
    return NetPrior(
        schedule=Schedule(**stored["schedule"]),
        params=stored["params"],
        net=net,
        to_eps=PREDICTIONS[card["prediction"]],
    )


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


def save_prior(
    prior: NetPrior, folder: str | Path, *, card: dict[str, Any] | None = None, dtype: Any = jnp.float32
) -> None:
    """Writes a prior to a folder, which appears only when complete and must not exist.

    Args:
        prior: A network prior whose network is one of this package's.
        folder: Where to.
        card: What else the JSON card should say: training data, licences, source, hardware.
        dtype: Type in which parameters are stored; bfloat16 halves the size.

    Raises:
        FileExistsError: If the folder exists.
        TypeError: If the network is not one that a card can describe.
        ValueError: If a weight is not finite.
    """
    _save(prior.net, prior.params, prior.schedule, _name_of_prediction(prior.to_eps), Path(folder), card or {}, dtype)


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


def read_card(folder: str | Path) -> dict[str, Any]:
    """Reads and checks the card of a prior.

    Raises:
        FileNotFoundError: If the folder holds no prior.
        ValueError: If the card is broken or of another format.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is no prior: it has no {CARD}. Train one, convert one, or use a bundled one: "
            f"{', '.join(bundled_priors())}."
        )
    try:
        card = json.loads(path.read_text())
        if card["format"] == FORMAT:
            for field, kind in (("architecture", dict), ("schedule", dict), ("prediction", str)):
                if not isinstance(card[field], kind):
                    raise TypeError(f"{field} is no {kind.__name__}")
            int(card["schedule"]["num_timesteps"])
            jnp.dtype(card["stored_dtype"])
            int(card.get("stored_bytes", 0))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the card of a prior ({type(error).__name__}: {error}).") from error
    if card["format"] != FORMAT:
        raise ValueError(f"{path} has format {card['format']}, this version reads {FORMAT}.")
    if card["prediction"] not in (*PREDICTIONS, LOGITS):
        known = ", ".join((*PREDICTIONS, LOGITS))
        raise ValueError(f"{path} says prediction={card['prediction']!r}; known are {known}.")
    return card


def describe_net(net: nn.Module) -> dict[str, Any]:
    """The configuration of a network as JSON values."""
    name = type(net).__name__
    if NETS.get(name) is not type(net):
        raise TypeError(f"a card cannot describe {name}; it knows {', '.join(NETS)}.")
    fields = (field for field in net.__dataclass_fields__ if field not in _RUNTIME_FIELDS)
    return {"type": name, **{field: getattr(net, field) for field in fields}}


def net_from_card(architecture: dict[str, Any], *, dtype: Any = jnp.float32, remat: bool = False) -> nn.Module:
    """Builds the network that a card describes.

    Raises:
        ValueError: If the architecture is unknown or has unknown fields.
    """
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in architecture.items()}
    name = fields.pop("type", None)
    if name not in NETS:
        raise ValueError(f"unknown architecture {name!r}; known are {', '.join(NETS)}.")
    try:
        return NETS[name](**fields, dtype=dtype, remat=remat)
    except TypeError as error:
        raise ValueError(f"the card's architecture does not fit {name} ({error}).") from error


def abstract_params(net: Any) -> Any:
    """Shapes of a network's parameters, without computing any."""
    return parameter_shapes(net)


def _restore(
    folder: Path, card: dict[str, Any], *, dtype: Any, remat: bool, sharding: Placement | None
) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a card, and its parameters and schedule."""
    import orbax.checkpoint as ocp

    # Orbax fails in many ways on truncated files, and not all of them are caught below.
    written, found = int(card.get("stored_bytes", 0)), _num_bytes(folder / WEIGHTS)
    if found < written:
        raise ValueError(
            f"the weights in {folder} are incomplete: {found:,} of {written:,} bytes. Copy or download it again."
        )
    net = net_from_card(card["architecture"], dtype=dtype, remat=remat)
    num_timesteps = int(card["schedule"]["num_timesteps"])
    stored_dtype = jnp.dtype(card["stored_dtype"])
    table = jax.ShapeDtypeStruct((num_timesteps,), jnp.float32)
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, stored_dtype), abstract_params(net))
    abstract = _placed({"params": params, "schedule": {"alphas": table, "sigmas": table}}, sharding)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            # Checked before reading: if Orbax stops halfway it leaves coroutines behind, which warn later.
            _check_fit(checkpointer.metadata(folder / WEIGHTS).item_metadata, abstract)
            stored = checkpointer.restore(folder / WEIGHTS, abstract)
    except Exception as error:  # Orbax raises plain Exceptions for damaged files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"the weights in {folder} do not fit their card ({reason}).") from error
    return net, {**stored, "params": jax.tree.map(lambda leaf: leaf.astype(jnp.float32), stored["params"])}


def _save(
    net: nn.Module, params: Any, schedule: Schedule, prediction: str, folder: Path, card: dict[str, Any], dtype: Any
) -> None:
    import shutil

    import orbax.checkpoint as ocp

    folder = folder.absolute()
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; choose another folder or remove it.")
    described = {
        **card,
        "format": FORMAT,
        "architecture": describe_net(net),
        "schedule": {**card.get("schedule", {}), "num_timesteps": schedule.num_timesteps},
        "prediction": prediction,
        "value_range": [-1, 1],
        "stored_dtype": jnp.dtype(dtype).name,
        "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
    }
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        needed, free = described["num_parameters"] * jnp.dtype(dtype).itemsize, shutil.disk_usage(partial).free
        if free < needed:  # Orbax would find out late, and print hundreds of lines
            reason = f"{needed / 1e6:.0f} MB are needed but only {free / 1e6:.0f} MB of the disk are free"
            raise OSError(errno.ENOSPC, reason, str(folder))
        arrays = {
            "params": jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params),
            "schedule": {"alphas": schedule.alphas, "sigmas": schedule.sigmas},
        }
        _check_weights(arrays["params"])
        # Without a limit Orbax copies all arrays before it writes the first; one array must fit.
        limit = 1 + max(leaf.nbytes for leaf in jax.tree.leaves(arrays)) // 10**9
        with ocp.Checkpointer(ocp.StandardCheckpointHandler(save_concurrent_gb=limit)) as checkpointer:
            checkpointer.save(partial / WEIGHTS, args=ocp.args.StandardSave(arrays))
        marker = partial / WEIGHTS / "commit_success.txt"
        if marker.exists():  # Orbax writes the path on this machine into it
            marker.write_text("Checkpoint commit was successful\n")
        described["stored_bytes"] = _num_bytes(partial / WEIGHTS)
        (partial / CARD).write_text(json.dumps(described, indent=1) + "\n")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_weights(params: Any) -> None:
    """Raises ValueError at the first array with entries that are not finite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not jnp.isfinite(leaf).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ValueError(
                f"the weights {name} have entries that are not finite in {leaf.dtype}: training diverged, or the file "
                "is damaged. Take an earlier checkpoint, or copy the file again."
            )


def _num_bytes(folder: Path) -> int:
    """Size of all files in a folder, and below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


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


def _check_fit(stored: Any, needed: Any) -> None:
    """Raises ValueError at the first array that is missing, left over or of another shape."""
    stored, needed = (
        {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (getattr(stored, "tree", stored), needed)
    )
    for name in sorted(stored.keys() | needed.keys()):
        if stored.get(name) != needed.get(name):
            raise ValueError(f"{name} has shape {stored.get(name)}, needed is {needed.get(name)}")


def _name_of_prediction(to_eps: priors.ToEps) -> str:
    for name, known in PREDICTIONS.items():
        if known is to_eps:
            return name
    raise TypeError(f"a card cannot describe the prediction {to_eps!r}; it knows {', '.join(PREDICTIONS)}.")
