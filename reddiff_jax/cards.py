"""The JSON card of a stored prior: what the arrays beside it are, and what tells that nobody changed them since.

A card lists every stored file with its size and SHA-256, and ends with a SHA-256 of itself. They tell damage: a bad
disk, a download that was cut, a slip of an editor. They do not tell who wrote a prior; whoever changes one on purpose
can write its hashes, too.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from reddiff_jax import priors
from reddiff_jax._files import replacing, sha256_of
from reddiff_jax._rules import (
    JsonError,
    Rule,
    anything,
    check,
    hexadecimal,
    one_of,
    read_json,
    record,
    show_value,
    table_of,
    text,
    whole,
)
from reddiff_jax._text import shown
from reddiff_jax.nets import DhariwalUNet, DiffusersUNet, EncoderUNet, ResidualUNet, SongUNet, UNet, rules

CARD = "card.json"
WEIGHTS = "weights"
FORMAT = 1
NETS: dict[str, type[nn.Module]] = {
    "UNet": UNet,
    "EncoderUNet": EncoderUNet,
    "DiffusersUNet": DiffusersUNet,
    "ResidualUNet": ResidualUNet,
    "DhariwalUNet": DhariwalUNet,
    "SongUNet": SongUNet,
}
PREDICTIONS = {
    "eps": priors.from_eps,
    "x0": priors.from_x0,
    "v": priors.from_v,
    "velocity": priors.from_velocity,
    "score": priors.from_score,
}
LOGITS = "logits"  # what a classifier predicts
DTYPES = ("float32", "bfloat16", "float16", "float64")  # in which parameters are stored
MAX_TIMESTEPS = 100_000
_SEAL = "sha256"  # of the card itself
_REMEDY = "Copy or download it again."
_RUNTIME_FIELDS = {"parent", "name", "dtype", "remat"}
_RULES_OF_NETS: dict[str, Mapping[str, Rule]] = {
    "UNet": rules.UNET,
    "EncoderUNet": rules.ENCODER_UNET,
    "DiffusersUNet": rules.DIFFUSERS_UNET,
    "ResidualUNet": rules.RESIDUAL_UNET,
    "DhariwalUNet": rules.DHARIWAL_UNET,
    "SongUNet": rules.SONG_UNET,
}
# Names below the folder, none of which leads out of it.
_FILE = re.compile(rf"{WEIGHTS}(/(?!\.)[A-Za-z0-9_.-]+)+")
_FILE_NAME = Rule(lambda name: type(name) is str and _FILE.fullmatch(name) is not None, f"a path below {WEIGHTS}/")
_STORED = record({"bytes": whole(0, 2**50), "sha256": hexadecimal(64)})
_CARD = record(
    {
        "architecture": record({}),
        "schedule": record({"num_timesteps": whole(1, MAX_TIMESTEPS)}),
        "prediction": text(),
        "stored_dtype": one_of(*DTYPES),
        "num_parameters": whole(1, 2**50),
    },
    optional={
        "name": text().or_null(),
        "value_range": anything(),
        "versions": table_of(text(100)),
        "files": table_of(_STORED, names=_FILE_NAME),
        _SEAL: hexadecimal(64),
    },
)


def read_card(folder: str | Path) -> dict[str, Any]:
    """Reads and checks the card of a prior.

    Raises:
        FileNotFoundError: If the folder holds no prior.
        ValueError: If the card is broken, of another format, or not what was written.
    """
    path = Path(folder) / CARD
    card = _parse(path)
    if "files" not in card or _SEAL not in card:
        raise ValueError(
            f"{path} lists no SHA-256 of the stored files, as version 0.1 wrote it. If you trust the folder, add them: "
            f"reddiff_jax.io.seal({str(folder)!r})."
        )
    if card[_SEAL] != _digest(card):
        raise ValueError(
            f"{path} is not what was written: its own SHA-256 differs. {_REMEDY} If you changed it yourself: "
            f"reddiff_jax.io.seal({str(folder)!r})."
        )
    return card


def seal(folder: str | Path) -> dict[str, Any]:
    """Writes the size and SHA-256 of each stored file into the card of a prior that was changed by hand.

    Args:
        folder: A prior's folder that you trust as it is: what is there now is what ``load_prior`` will insist on.

    Returns:
        The card.

    Raises:
        FileNotFoundError: If the folder holds no prior.
        ValueError: If the card is broken or of another format.
    """
    path = Path(folder) / CARD
    write_card(Path(folder), _parse(path))
    return read_card(folder)


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Writes a card with the sizes and SHA-256 of the files that are in the folder."""
    names = stored_files(folder)
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": digest}
        for name, digest in zip(names, _hash_all([folder / name for name in names]), strict=True)
    }
    card = {name: value for name, value in card.items() if name not in ("files", _SEAL)} | {"files": files}
    card = json.loads(json.dumps(card))  # as it will be read
    with replacing(folder / CARD) as partial:
        partial.write_text(json.dumps({**card, _SEAL: _digest(card)}, indent=1) + "\n", encoding="utf-8")


def stored_files(folder: Path) -> list[str]:
    """Paths of the arrays' files below the folder, sorted; hidden ones are an operating system's."""
    found = (path.relative_to(folder) for path in (folder / WEIGHTS).rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if not path.name.startswith("."))


def check_files(folder: Path, card: Mapping[str, Any]) -> None:
    """Raises ValueError unless the stored files are those that the card lists, byte for byte."""
    listed, found = card["files"], stored_files(folder)
    sizes = {name: (folder / name).stat().st_size for name in found}
    have = sum(sizes[name] for name in listed if name in sizes)
    want = sum(entry["bytes"] for entry in listed.values())
    if have < want or listed.keys() - sizes.keys():
        raise ValueError(f"the weights in {folder} are incomplete: {have:,} of {want:,} bytes. {_REMEDY}")
    if others := sorted(sizes.keys() - listed.keys()):
        raise ValueError(f"{folder} holds {shown(others[0])}, which its card does not list. {_REMEDY}")
    names = [name for name in listed if sizes[name] == listed[name]["bytes"]]
    digests = dict(zip(names, _hash_all([folder / name for name in names]), strict=True))
    for name, entry in listed.items():
        if digests.get(name) != entry["sha256"]:
            raise ValueError(
                f"the weights in {folder} are damaged: {shown(name)} is not the file that its card lists (another "
                f"SHA-256). {_REMEDY}"
            )


def describe_net(net: nn.Module) -> dict[str, Any]:
    """The configuration of a network as JSON values."""
    name = type(net).__name__
    if NETS.get(name) is not type(net):
        raise TypeError(f"a card cannot describe {name}; it knows {', '.join(NETS)}.")
    fields = (field for field in net.__dataclass_fields__ if field not in _RUNTIME_FIELDS)
    values = {field: getattr(net, field) for field in fields}
    return {
        "type": name,
        **{field: list(value) if isinstance(value, tuple) else value for field, value in values.items()},
    }


def net_from_card(architecture: Mapping[str, Any], *, dtype: Any = jnp.float32, remat: bool = False) -> nn.Module:
    """Builds the network that a card describes.

    Raises:
        ValueError: If the architecture is unknown, has unknown fields or impossible values, or is too deep.
    """
    given = dict(architecture)
    name = given.pop("type", None)
    if not isinstance(name, str) or name not in NETS:
        raise ValueError(f"unknown architecture {shown(repr(name))}; known are {', '.join(NETS)}.")
    known = _RULES_OF_NETS[name]
    if unknown := sorted(given.keys() - known.keys()):
        raise ValueError(f"the card's architecture does not fit {name}: it has no field {shown(unknown[0])}.")
    for refusal in rules.architecture(known).refusals(given):
        raise ValueError(f"the card's architecture does not fit {name}: {refusal}.")
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    net = NETS[name](**fields, dtype=dtype, remat=remat)
    if (blocks := rules.num_blocks(net)) > rules.MAX_BLOCKS:
        raise ValueError(
            f"the card's architecture does not fit {name}: {blocks} residual blocks are more than the "
            f"{rules.MAX_BLOCKS} that are built."
        )
    return net


def _parse(path: Path) -> dict[str, Any]:
    """A card whose fields have the types that are needed; its hashes are not compared."""
    if not path.is_file():
        if within := sorted(card.parent for card in path.parent.glob(f"*/{CARD}") if card.is_file()):
            raise FileNotFoundError(f"{path.parent} is no prior: it has no {CARD}; did you mean {within[0]}?")
        raise FileNotFoundError(
            f"{path.parent} is no prior: it has no {CARD}. Train one, convert one, or use a bundled one: "
            f"{', '.join(bundled_priors())}."
        )
    try:
        card = read_json(path.read_bytes())
        check(card, record({"format": anything()}))
        if type(card["format"]) is int and card["format"] != FORMAT:
            raise ValueError(f"{path} has format {show_value(card['format'])}, this version reads {FORMAT}.")
        check(card, record({"format": one_of(FORMAT)}))
        check(card, _CARD)
    except JsonError as error:
        raise ValueError(f"{path} is not the card of a prior ({error}).") from error
    if card["prediction"] not in (*PREDICTIONS, LOGITS):
        known = ", ".join((*PREDICTIONS, LOGITS))
        raise ValueError(f"{path} says prediction={shown(repr(card['prediction']))}; known are {known}.")
    return card


def bundled_priors() -> dict[str, Path]:
    """Folders of the priors that come with the package, by name; the first is the default, `photo`."""
    folders = sorted(card.parent for card in (Path(__file__).parent / "data").glob(f"*/{CARD}"))
    return {folder.name: folder for folder in sorted(folders, key=lambda folder: folder.name != "photo")}


def _digest(card: Mapping[str, Any]) -> str:
    """SHA-256 of what a card says, whatever its spacing and the order of its fields; without this hash itself."""
    rest = {name: value for name, value in card.items() if name != _SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _hash_all(paths: list[Path]) -> list[str]:
    # Threads hash side by side: a file of some gigabytes takes as long as reading it from a fast disk.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(sha256_of, paths))
