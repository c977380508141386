"""Where this package keeps what it would otherwise compile or convert again."""

import os
from pathlib import Path

from platformdirs import user_cache_path

CACHE = "REDDIFF_JAX_CACHE"
"""Environment variable with another folder, or "off"."""


def cache_folder() -> Path | None:
    """The cache folder; None where the user wants none."""
    chosen = os.environ.get(CACHE)
    if chosen is None:
        return user_cache_path("reddiff-jax", appauthor=False)
    return None if chosen.lower() in ("", "0", "off") else Path(chosen).expanduser()
