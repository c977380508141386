"""Which of the tensors in a file are the network's.

A file may hold a network's weights, their moving average and an optimizer's state.

A set of weights is a dictionary of tensors by name, wherever it lies in the file. Where two could be meant, such as the
trained weights and their average, nothing is chosen here: whoever converts says which.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reddiff_jax._text import shown
from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.converting.pickles import Placeholder

PREFIXES = (
    *("module", "_orig_mod", "model", "ema_model", "online_model", "model_ema", "ema", "unet", "net", "network"),
    *("diffusion_model", "denoise_fn", "denoiser", "score_model", "inner_model"),
)
"""Names of the modules around a network, which begin all names of its tensors."""

_OPTIMIZERS = ("optim", "opt", "scheduler", "lr_scheduler", "scaler")  # how the names of their states begin
_AVERAGED = ("ema", "shadow", "averag", "avg")  # parts of the names of averaged weights
# Buffers that a network's wrapper has of its own: counts, which have no axes, empty ones, and a schedule's tables.
_TABLES = re.compile(r"\w*(betas|alphas|posterior|loss_weight|snr|lvlb)\w*")
_MAX_DEPTH = 6  # of dictionaries in dictionaries
_ADVICE = "save the network's state dict alone: torch.save(model.state_dict(), path)"


@dataclass(frozen=True)
class Weights:
    """A set of weights and where it lies.

    Args (fields):
        path: Keys of the dictionaries around it, outermost first, and a prefix of its names if the same dictionary
            holds another set.
        tensors: Arrays by name.
    """

    path: tuple[str, ...]
    tensors: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """What ``--weights`` calls it."""
        return ".".join(self.path)


def choose_weights(content: Any, wanted: str | None) -> Weights:
    """The network's set of weights.

    Args:
        content: What a file holds: dictionaries, lists, arrays and placeholders.
        wanted: Name of the set, or None where only one can be meant.

    Raises:
        CheckpointError: If there is none, several could be meant, or it has tensors in a form that is not read. The
            message continues the file's name.
    """
    found = _different([part for each in _sets(content) for part in _split(each)])
    if not found:
        raise CheckpointError(f"has no tensors by name{_objects(content)}; {_ADVICE}.")
    chosen = _wanted(found, wanted) if wanted is not None else _only(found)
    if unread := next((name for name, each in chosen.tensors.items() if isinstance(each, Placeholder)), None):
        kind = chosen.tensors[unread].name  # type: ignore[attr-defined]
        raise CheckpointError(
            f"has {shown(unread)} in a form that is not read ({shown(kind)}); save it as a plain tensor of float32."
        )
    return Weights(chosen.path, _without_prefix(_with_dots(chosen, found)))


def _sets(content: Any) -> Iterator[Weights]:
    """All dictionaries with tensors in them, but an optimizer's."""
    seen: set[int] = set()

    def walk(node: Any, path: tuple[str, ...], siblings: Mapping[Any, Any]) -> Iterator[Weights]:
        if id(node) in seen or len(path) > _MAX_DEPTH:
            return
        seen.add(id(node))
        arrays = isinstance(node, list) and len(node) > 0 and all(isinstance(each, np.ndarray) for each in node)
        if arrays and (names := _names_for(node, siblings)):
            yield Weights(path, dict(zip(names, node, strict=True)))
        if not isinstance(node, dict):
            return
        tensors = {name: each for name, each in node.items() if isinstance(name, str) and _is_tensor(each)}
        if any(np.ndim(each) for each in tensors.values() if isinstance(each, np.ndarray)) or any(
            isinstance(each, Placeholder) for each in tensors.values()
        ):
            yield Weights(path, tensors)
        for name, each in node.items():
            if isinstance(name, str) and not name.lower().startswith(_OPTIMIZERS):
                yield from walk(each, (*path, name), {**siblings, **node})

    yield from walk(content, (), {})


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (isinstance(value, Placeholder) and value.is_tensor)


def _names_for(arrays: list[np.ndarray], siblings: Mapping[Any, Any]) -> list[str] | None:
    """Names of a list of parameters (``shadow_params``), in the order of a network's beside it; None if none fits."""
    for each in siblings.values():
        if not isinstance(each, dict):
            continue
        names, left = [], list(arrays)
        for name, tensor in each.items():  # which has buffers, too
            if left and isinstance(tensor, np.ndarray) and isinstance(name, str) and tensor.shape == left[0].shape:
                names.append(name)
                left.pop(0)
        if not left:
            return names
    return None


def _split(weights: Weights) -> list[Weights]:
    """One set for each of the modules that a state dict holds side by side, as an average's wrapper does."""
    starts = {name.partition(".")[0] for name, each in weights.tensors.items() if not _is_beside(name, each)}
    if len(starts) < 2 or not starts <= set(PREFIXES):
        return [weights]
    return [
        Weights(
            (*weights.path, start),
            {name: each for name, each in weights.tensors.items() if name.startswith(f"{start}.")},
        )
        for start in sorted(starts)
    ]


def _different(found: list[Weights]) -> list[Weights]:
    """Leaves out sets that are another one's very bytes."""
    kept: dict[tuple[Any, ...], Weights] = {}
    for each in found:
        places = ((n, t.__array_interface__["data"][0], t.shape) for n, t in each.tensors.items() if _is_array(t))
        kept.setdefault(tuple(sorted(places)) or each.path, each)
    return list(kept.values())


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _only(found: list[Weights]) -> Weights:
    """The one set that can be meant: the others have less than half of its numbers."""
    largest = max(map(_count, found))
    rivals = [each for each in found if 2 * _count(each) >= largest]
    if len(rivals) == 1:
        return rivals[0]
    same = len({_kernels(each) for each in rivals}) == 1
    choice = " or ".join(f"--weights {shown(each.name or _TOP)}" for each in rivals)
    averaged = [shown(r.name) for r in rivals if r.path and any(part in r.path[-1].lower() for part in _AVERAGED)]
    hint = f" Published samples are drawn with averaged weights: {averaged[0]}." if len(averaged) == 1 else ""
    raise CheckpointError(f"has {len(rivals)} sets of weights{' of equal shapes' if same else ''}; say {choice}.{hint}")


def _wanted(found: list[Weights], wanted: str) -> Weights:
    fits = [each for each in found if (each.name or _TOP) == wanted] or [
        each for each in found if each.path and each.path[-1] == wanted
    ]
    if len(fits) == 1:
        return fits[0]
    names = ", ".join(shown(each.name or _TOP) for each in found)
    raise CheckpointError(f"has no single set of weights {shown(wanted)}; --weights is one of {names}.")


_TOP = "top"  # the set that has no name


def _count(weights: Weights) -> int:
    return sum(math.prod(np.shape(each)) for each in weights.tensors.values() if _is_array(each))


def _kernels(weights: Weights) -> tuple[tuple[int, ...], ...]:
    """Shapes of what has two axes or more; buffers, which an average may lack, mostly have fewer."""
    return tuple(sorted(each.shape for each in weights.tensors.values() if _is_array(each) and each.ndim > 1))


def _with_dots(chosen: Weights, found: list[Weights]) -> dict[str, np.ndarray]:
    """The tensors; names that a moving average wrote without dots are those of another set, which has them."""
    if any("." in name for name in _without_prefix(chosen.tensors)):
        return chosen.tensors
    bare = {name.rpartition(".")[2]: each for name, each in chosen.tensors.items()}
    for other in found:
        named = {name.replace(".", ""): name for name in _without_prefix(other.tensors, most=1)}
        if other is not chosen and bare.keys() & named.keys() == {n for n, each in bare.items() if each.ndim}:
            return {named[name]: each for name, each in bare.items() if name in named}
    return chosen.tensors


def _without_prefix(tensors: dict[str, np.ndarray], most: int = 10) -> dict[str, np.ndarray]:
    """Drops what begins all names, and what the module of that name has beside it."""
    for _ in range(most):
        starts = {name.partition(".")[0] for name, each in tensors.items() if not _is_beside(name, each)}
        if len(starts) != 1 or not starts <= set(PREFIXES):
            break
        prefix = f"{starts.pop()}."
        tensors = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    return tensors


def _is_beside(name: str, tensor: Any) -> bool:
    return "." not in name and (np.ndim(tensor) == 0 or np.size(tensor) == 0 or _TABLES.fullmatch(name) is not None)


def _objects(content: Any) -> str:
    """Says which objects stand where a state dict should be."""
    items = content.items() if isinstance(content, dict) else [("", content)]
    objects = [f"{key} is a {each.name}".strip() for key, each in items if isinstance(each, Placeholder)]
    return f" (but {shown(', '.join(map(str, objects[:3])))}: nothing in a file is run)" if objects else ""
