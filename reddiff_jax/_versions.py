"""Which versions computed a result, or wrote a file."""

import importlib.metadata
import sys
from functools import cache


@cache
def versions() -> dict[str, str]:
    """Versions of this package and of those on which its numbers depend, by name."""
    # The package is being imported when its modules are, so that it cannot be imported here; it is there when called.
    own = sys.modules["reddiff_jax"].__version__
    return {"reddiff_jax": own, **{name: importlib.metadata.version(name) for name in ("jax", "jaxlib")}}
