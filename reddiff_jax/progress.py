"""A progress bar, and what is said of a step."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from reddiff_jax import _bars


def scalars_of(info: Any, num_axes: int = 0) -> dict[str, jax.Array]:
    """Selects what an Info says in one number a step.

    Args:
        info: The solver's Info, each leaf (..., num_steps) or with further axes.
        num_axes: Number of axes of a batch before the axis of the steps.

    Returns:
        Name -> (..., num_steps).
    """
    leaves = jax.tree_util.tree_flatten_with_path(info)[0]
    named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    return {name: leaf for name, leaf in named.items() if leaf.ndim == num_axes + 1}


def describe_step(step: int, num_steps: int, scalars: Mapping[str, Any]) -> str:
    """Says how far a run is, and the last of each scalar (..., num_steps), as the mean of a batch."""
    means = {name: np.asarray(values)[..., -1].mean() for name, values in scalars.items() if name != "t"}
    said = "".join(f", {name.replace('_', ' ')} {mean:.3g}" for name, mean in means.items())
    return f"step {step}/{num_steps}{said}"


class ProgressBar:
    """A progress bar, or nothing. As a context it gives the function ``(completed, text)`` that moves the bar.

    On a terminal it is a bar, in a notebook a line of text that is written over, elsewhere a line every few seconds.

    Args:
        total: What ``completed`` is at the end; None if that is unknown.
        shown: Whether there is a bar.
    """

    def __init__(self, total: int | None, shown: bool = True):
        self.total, self.shown = total, shown

    def __enter__(self) -> Callable[[float, str], None]:
        if not self.shown:
            return lambda completed, text: None
        from rich.console import Console

        self._bar = _bars.progress("restoring", Console(), stays=True)
        update = self._bar.__enter__()
        if self.total is None:
            return lambda completed, text: update(0.0, f"{completed:.4g} done, {text}")
        return lambda completed, text: update(completed / self.total, text)  # type: ignore[operator]

    def __exit__(self, *error):
        if self.shown:
            self._bar.__exit__(*error)
