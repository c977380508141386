"""Priors from a hub: fetched and converted once into the cache, by the commit, and read from there without a network.

``hf:owner/name`` is a repository of a Hugging Face hub, at HF_ENDPOINT if that is set: a folder of diffusers, or a
prior of this package. ``hf:owner/name/path/to/file.pt`` is one file of it, for ``convert``.
"""

import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from reddiff_jax import converting, io
from reddiff_jax._caches import CACHE, cache_folder
from reddiff_jax._files import replacing, replacing_folder, sha256_of
from reddiff_jax._text import shown
from reddiff_jax.cards import CARD, WEIGHTS
from reddiff_jax.converting import diffusers
from reddiff_jax.hub.errors import HubError, Unreachable, told
from reddiff_jax.priors import NetPrior

PREFIX = "hf:"
_COMMIT = re.compile("[0-9a-f]{40}")
_ENDPOINT = "https://huggingface.co"
_MAX_BYTES = 100 * 2**30  # of the files of one prior
_SMALL = 1000  # files of settings in a repository
_SHARD = re.compile(rf"{diffusers.WEIGHTS}(?:\.\w+)?-\d+-of-\d+\.(?:\w+\.)?(?P<format>safetensors|bin)")


@dataclass(frozen=True)
class _Listed:
    """What a hub says of a file; None where it says nothing."""

    size: int | None  # bytes
    sha256: str | None  # of large files
    blob: str | None  # Git's hash of the others


@dataclass(frozen=True)
class _Remote:
    """A repository at one commit."""

    name: str  # 'hf:owner/name'
    repository: str  # 'owner/name'
    commit: str
    licence: str | None
    files: dict[str, "_Listed"]  # by path

    def origin(self) -> dict[str, Any]:
        """What a card says of it."""
        return {"hub": self.name, "commit": self.commit, "license": self.licence}


def is_on_hub(name: Any) -> bool:
    """Whether a prior's name is one of a hub's."""
    return isinstance(name, str | Path) and str(name).startswith(PREFIX)


def endpoint() -> str:
    """Address of the hub."""
    return os.environ.get("HF_ENDPOINT", _ENDPOINT).rstrip("/")


def load_prior(
    folder: str | Path | None = None,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    dtype: Any = jnp.float32,
    remat: bool = False,
    sharding: io.Placement | None = None,
) -> NetPrior:
    """Loads a prior from its folder, or from a hub.

    Args:
        folder: Folder written by ``save_prior``, ``reddiff-jax train`` or the converter, or the name of a bundled
            prior; the bundled `photo` if None. ``"hf:owner/name"`` is a repository of a Hugging Face hub with such a
            folder or one of diffusers: it is fetched and converted once, and read from the cache after that.
        revision: Branch, tag or commit of the repository; its main branch if None. A commit that is in the cache needs
            no network.
        local_files_only: Whether only the cache is looked at.
        dtype: Compute type of the network (parameters are float32 either way).
        remat: Recompute activations in backward passes.
        sharding: Where the arrays go, the first device if None: ``NamedSharding(mesh, PartitionSpec())`` replicates
            them, ``io.along_largest_axis(mesh, "d")`` splits them. Each device reads its own share from the disk.

    Raises:
        FileNotFoundError: If there is no prior in the folder.
        ValueError: If its card or its arrays are not what this version can read, or the sharding does not fit them; or
            if the hub has no such repository, does not give it out, or cannot be reached.
        ImportError: For a hub's, without the extra ``hub``.
    """
    found = find_prior(folder, revision=revision, local_files_only=local_files_only)
    if is_on_hub(folder):
        logging.getLogger("reddiff_jax").info("prior %s: licence %s", folder, licence_of(found) or "not stated")
    return io.load_prior(found, dtype=dtype, remat=remat, sharding=sharding)


def find_prior(
    folder: str | Path | None = None, *, revision: str | None = None, local_files_only: bool = False
) -> Path:
    """Folder of a prior: as ``io.find_prior``, or that in the cache of one on a hub, which is fetched if need be.

    Args:
        folder: As for ``load_prior``.
        revision: As for ``load_prior``.
        local_files_only: As for ``load_prior``.

    Raises:
        ValueError: As ``load_prior``.
    """
    if folder is None or not is_on_hub(folder):
        if revision is not None:
            raise ValueError(f"revision is {revision!r}, but {folder} is no prior of a hub; leave it out.")
        return io.find_prior(folder)
    repository, file = _parse(str(folder))
    if file is not None:
        raise HubError(f"{folder} is one file; convert it first: reddiff-jax convert {folder} FOLDER --config NAME.")
    store = _store(repository)
    if revision is not None and _COMMIT.fullmatch(revision) and _is_there(store / revision):
        return store / revision
    try:
        if local_files_only:
            raise Unreachable("only the cache is looked at")
        remote = _look(str(folder), repository, revision)
    except Unreachable as error:
        kept = store / _read_reference(store, revision)
        if _is_there(kept):
            return kept
        raise HubError(
            f"{folder} is not in the cache, and {error}; fetch it once with a network, or give a folder."
        ) from error
    converted = store / remote.commit
    if not _is_there(converted):
        with fetched(remote, None) as source:
            _convert(source, converted, remote)
    with replacing(_licence_file(converted)) as partial:
        partial.write_text(remote.licence or "", encoding="utf-8")
    with replacing(_reference(store, revision)) as partial:
        partial.write_text(remote.commit, encoding="ascii")
    return converted


def licence_of(folder: Path) -> str | None:
    """Licence of a prior that came from a hub, as the hub says; None if it does not."""
    card = io.read_card(folder)
    if (beside := _licence_file(folder)).is_file():  # a prior of this package is kept as it came
        return shown(beside.read_text(encoding="utf-8").strip(), 200) or None
    source = card.get("source")
    found = card.get("license") or (source.get("license") if isinstance(source, dict) else None)
    return found if isinstance(found, str) else None


def convert(
    name: str,
    out: str | Path,
    *,
    revision: str | None = None,
    weights: str | None = None,
    report: Callable[[float, str], None] = lambda fraction, stage: None,
    **options: Any,
) -> dict[str, Any]:
    """Fetches a checkpoint from a hub and converts it to a folder, as ``converting.convert``.

    Args:
        name: ``hf:owner/name``, or one file of it, ``hf:owner/name/path/to/file.pt``.
        out: The folder, which must not exist.
        revision: Branch, tag or commit.
        weights: As for ``converting.convert``.
        report: As for ``converting.convert``.
        **options: As for ``converting.convert``.

    Returns:
        The card.

    Raises:
        ValueError: As ``load_prior``, and as ``converting.convert``.
        FileExistsError: If ``out`` exists.
    """
    if Path(out).exists():
        raise FileExistsError(f"{out} exists already; choose another folder or remove it.")
    repository, file = _parse(name)
    report(0.0, "asking the hub")
    remote = _look(name, repository, revision)
    report(0.0, "downloading")
    with fetched(remote, file, weights) as source:
        return converting.convert(
            source / file if file else source, out, weights=weights, origin=remote.origin(), report=report, **options
        )


def _parse(name: str) -> tuple[str, str | None]:
    parts = name.removeprefix(PREFIX).split("/")
    if len(parts) < 2 or not all(parts) or ".." in parts:
        raise HubError(f"{name} is no name of a repository: it is hf:owner/name.")
    return "/".join(parts[:2]), "/".join(parts[2:]) or None


def _store(repository: str) -> Path:
    folder = cache_folder()
    if folder is None:
        raise HubError(f"{CACHE} is off, but priors of a hub are kept in the cache; convert it to a folder instead.")
    return folder / "priors" / repository.replace("/", "--")


def _reference(store: Path, revision: str | None) -> Path:
    """The file that says at which commit a branch or tag was when the hub was last asked."""
    folder = store / "revisions"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / re.sub(r"[^A-Za-z0-9._-]", "_", revision or "main")


def _read_reference(store: Path, revision: str | None) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]", "_", revision or "main")
    path = store / "revisions" / name
    content = path.read_text(encoding="ascii", errors="replace").strip() if path.is_file() else ""
    return content if _COMMIT.fullmatch(content) else "none"


def _licence_file(converted: Path) -> Path:
    """The file beside a prior in the cache that says which licence the hub states."""
    return converted.with_name(f"{converted.name}.licence")


def _is_there(folder: Path) -> bool:
    return (folder / CARD).is_file()


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError("priors of a hub need huggingface_hub: pip install 'reddiff-jax[hub]'.") from error
    return huggingface_hub


def _look(name: str, repository: str, revision: str | None) -> _Remote:
    """What the hub says of a repository."""
    api = _library().HfApi(endpoint=endpoint())
    with told(name, repository, endpoint(), revision):
        info = api.model_info(repository, revision=revision, files_metadata=True, timeout=30)
    if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
        raise HubError(f"{endpoint()} names no commit of {name}.")
    files = {
        each.rfilename: _Listed(each.size, each.lfs.sha256 if each.lfs else None, None if each.lfs else each.blob_id)
        for each in info.siblings or []
    }
    licence = (info.card_data or {}).get("license")
    return _Remote(name, repository, info.sha, licence if isinstance(licence, str) else None, files)


@contextmanager
def fetched(remote: _Remote, file: str | None, weights: str | None = None) -> Iterator[Path]:
    """Downloads what is needed of a repository to a folder for the time of the block, and compares it."""
    needed = [file] if file is not None else wanted_files(list(remote.files), weights)
    if file is not None and file not in remote.files:
        raise HubError(f"{remote.name} is not there; the repository has {_listed(remote.files)}.")
    if not needed:
        raise HubError(
            f"{remote.name} has neither a prior of this package ({CARD}) nor a folder of diffusers "
            f"({diffusers.CONFIG}); it has {_listed(remote.files)}. One file: {remote.name}/FILE."
        )
    total = sum(remote.files[name].size or 0 for name in needed)
    parent = cache_folder()
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hub-", dir=parent) as made:
        temporary = Path(made) / remote.repository.partition("/")[2]  # the card's name of the prior
        temporary.mkdir()
        if total > min(_MAX_BYTES, shutil.disk_usage(temporary).free):
            raise HubError(f"{remote.name} has {total:,} bytes of weights, more than the disk has free.")
        for name in needed:
            with told(remote.name, remote.repository, endpoint(), remote.commit):
                path = _library().hf_hub_download(
                    remote.repository, name, revision=remote.commit, local_dir=temporary, endpoint=endpoint()
                )
            _compare(remote, name, Path(path))
        yield temporary


def _compare(remote: _Remote, name: str, path: Path) -> None:
    listed, size = remote.files[name], path.stat().st_size
    if listed.size is not None and size != listed.size:
        raise HubError(f"{name} of {remote.name} was cut off: {size:,} of {listed.size:,} bytes; try again.")
    differs = listed.sha256 is not None and sha256_of(path) != listed.sha256
    if listed.blob is not None:  # only small files have one, so that they fit into memory
        content = path.read_bytes()
        differs |= hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False).hexdigest() != listed.blob
    if differs:
        raise HubError(f"{name} of {remote.name} is not what the hub lists (another hash); try again.")


def wanted_files(names: list[str], weights: str | None = None) -> list[str]:
    """The files of a repository that a prior is made of: its own folder, or diffusers' settings and weights.

    Args:
        names: All files of the repository.
        weights: Which of several sets of weights, as for ``converting.convert``.
    """
    names = [name for name in names if ".." not in Path(name).parts and not name.startswith(("/", "."))]
    if CARD in names:
        return sorted(name for name in names if name == CARD or name.startswith(f"{WEIGHTS}/"))
    settings = [name for name in names if name.count("/") < 2 and name.endswith((".json",))][:_SMALL]
    if not any(Path(name).name == diffusers.CONFIG for name in settings):
        return []
    by_format = {
        kind: [name for name in names if _is_weights(name, kind) and _is_exact(name, weights)]
        for kind in ("safetensors", "bin")
    }
    return sorted({*settings, *(by_format["safetensors"] or by_format["bin"])})


def _is_weights(name: str, kind: str) -> bool:
    folder, _, last = name.rpartition("/")
    match = diffusers.WEIGHTS_NAME.fullmatch(last) or _SHARD.fullmatch(last)
    return folder in ("", "unet", "unet_ema") and match is not None and match["format"] == kind


def _is_exact(name: str, weights: str | None) -> bool:
    """Whether a file is no rounded copy, or the one that is asked for."""
    words = set(re.split(r"[./-]", name))
    return not words & set(diffusers.ROUNDED) or (weights is not None and weights in (name, *words))


def _listed(files: dict[str, Any]) -> str:
    names = [shown(name, 60) for name in sorted(files)]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "no files"


def _convert(source: Path, converted: Path, remote: _Remote) -> None:
    converted.parent.mkdir(parents=True, exist_ok=True)
    try:
        if (source / CARD).is_file():
            io.read_card(source)
            with replacing_folder(converted) as partial:
                # Without the library's notes.
                shutil.copytree(source, partial, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
        else:
            converting.convert(source, converted, origin=remote.origin())
    except FileExistsError:
        if not _is_there(converted):  # else another process was quicker
            raise
    except ValueError as error:
        reason = str(error).removeprefix(f"{source}: ").replace(f"{source}/", "")
        raise HubError(f"{remote.name}: {reason}") from error
