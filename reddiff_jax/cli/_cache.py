"""Compiled programs kept from one command to the next, in the user's cache folder."""

import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from reddiff_jax._caches import cache_folder

_MAX_BYTES = 4 * 2**30
_MIN_COMPILE_SECONDS = 0.5


def keep_programs() -> None:
    """Turns JAX's persistent compilation cache on, unless the user has chosen a folder for it himself."""
    import jax

    folder = cache_folder()
    if folder is None or getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    programs = folder / "programs"
    try:
        programs.mkdir(parents=True, exist_ok=True)
        _remove_incomplete(programs)
    except OSError:
        return  # a home that cannot be written to is no reason to restore nothing
    _replace_damaged(programs)
    _counts()
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_compilation_cache_max_size", _MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_SECONDS)


def _remove_incomplete(programs: Path) -> None:
    """Removes what a killed process left half written: JAX would neither read nor replace it."""
    from filelock import FileLock

    with FileLock(programs / ".lockfile", timeout=10):  # JAX's own
        for program in programs.glob("*-cache"):
            if not program.with_name(program.name.removesuffix("-cache") + "-atime").is_file():
                program.unlink(missing_ok=True)


_DAMAGED = "Error reading persistent compilation cache entry"  # how JAX's warning begins


def _replace_damaged(programs: Path) -> None:
    """Removes each program that JAX cannot read, so that what it compiles instead is kept.

    JAX warns, and leaves a file alone that is there already: it would warn and compile for ever.
    """
    shown = warnings.showwarning

    def show(message: Warning | str, *rest: Any, **options: Any) -> None:
        if not str(message).startswith(_DAMAGED):
            return shown(message, *rest, **options)
        read = max(programs.glob("*-atime"), key=_last_read, default=None)  # the program that JAX has just read
        if read is not None:
            with suppress(OSError):
                read.with_name(read.name.removesuffix("-atime") + "-cache").unlink(missing_ok=True)
                read.unlink(missing_ok=True)
        return None

    warnings.filterwarnings("always", message=_DAMAGED)
    warnings.showwarning = show


def _last_read(atime: Path) -> int:
    """Time when JAX last read a program, in nanoseconds."""
    try:
        return int.from_bytes(atime.read_bytes(), "little")
    except OSError:
        return 0


def compiled(detail: str) -> str:
    """Says whether the last programs were compiled or found in the cache, all of them."""
    counts = _counts()
    found = counts["hits"] > 0 == counts["misses"]
    counts.update(hits=0, misses=0)
    return f"{'found compiled' if found else 'compiled'} {detail}"


@cache
def _counts() -> dict[str, int]:
    """Programs found and not found in the cache since they were last asked for."""
    import jax

    counts = {"hits": 0, "misses": 0}

    def listen(event: str, **_: object) -> None:
        for name in counts:
            counts[name] += event == f"/jax/compilation_cache/cache_{name}"

    jax.monitoring.register_event_listener(listen)
    return counts
