"""Guidance to a class: priors that are made of priors, and of a classifier of noisy images.

The class y is the problem's condition, ``rd.problem(..., cond=label)``, one integer an image. By Bayes' rule
``grad log p(x_t | y) = grad log p(x_t) + grad log p(y | x_t)``. A classifier supplies the last term; without one it is
the difference of a conditional and an unconditional prediction. A scale above 1 sharpens the class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Int

from reddiff_jax._checks import check_callable, check_non_negative, check_type, is_visible, numbers
from reddiff_jax._types import Condition, Image, Timestep
from reddiff_jax.priors import NetPrior, Prior, check_prior
from reddiff_jax.schedules import Schedule

Logits = Callable[..., jax.Array]
"""``(params, x_t, t) -> (K,)`` logits of the classes of one noisy image; without params ``(x_t, t)``."""


@struct.dataclass
class ClassifierGuided(Prior):
    """A prior guided by a classifier of noisy images."""

    prior: Prior
    params: Any
    scale: jax.Array  # () or (T,)
    logits: Logits = struct.field(pytree_node=False)
    conditional: bool = struct.field(pytree_node=False)  # whether the prior takes the condition too

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t`` of the class ``cond``."""
        label = _label("classifier_guided", cond)

        def log_probability(x_t):
            logits = self.logits(x_t, t) if self.params is None else self.logits(self.params, x_t, t)
            log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
            return log_probabilities[_check_class("cond", label, logits.shape[-1])], logits.shape[-1]

        gradient, num_classes = jax.grad(log_probability, has_aux=True)(x_t)
        # An index out of range would be clamped, and guide to another class.
        gradient = jnp.where((label >= 0) & (label < num_classes), gradient, jnp.nan)
        scale = self.scale[jnp.asarray(t)] if self.scale.ndim else self.scale
        eps_hat = self.prior.eps(x_t, t, cond if self.conditional else _without_label(cond))
        return eps_hat - scale * self.schedule(t)[1] * gradient


@struct.dataclass
class ClassifierFree(Prior):
    """A conditional prediction, extrapolated away from the unconditional one."""

    prior: Prior
    scale: jax.Array  # () or (T,)
    unconditional: Prior | None
    null_label: int | None = struct.field(pytree_node=False)
    null: jax.Array | None = None  # tokens of the empty text

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t`` of the class or text ``cond``."""
        if self.null is not None:
            eps_null = self.prior.eps(x_t, t, self.null)
            scale = self.scale[jnp.asarray(t)] if self.scale.ndim else self.scale
            return eps_null + scale * (self.prior.eps(x_t, t, cond) - eps_null)
        label, num_classes = _label("classifier_free", cond), _num_classes(self.prior)
        if num_classes is not None:
            _check_class("cond", label, num_classes)
        if self.unconditional is not None:
            eps_null = self.unconditional.eps(x_t, t, _without_label(cond))
        else:
            null = jnp.full_like(label, self.null_label)  # type: ignore[arg-type]
            eps_null = self.prior.eps(x_t, t, {**cond, "label": null} if isinstance(cond, Mapping) else null)
        scale = self.scale[jnp.asarray(t)] if self.scale.ndim else self.scale
        return eps_null + scale * (self.prior.eps(x_t, t, cond) - eps_null)


def classifier_guided(
    prior: Prior,
    classifier: tuple[nn.Module, Any, Schedule] | Logits,
    scale: Float[Array, "*T"] | float = 1.0,
    *,
    params: Any = None,
    conditional: bool | None = None,
) -> ClassifierGuided:
    """Guides a prior to the class ``Problem.cond`` by a classifier of noisy images.

    ``eps_hat(x_t, y) = eps_hat(x_t) - scale * sigma_t * grad log p(y | x_t)``, p the softmax of the logits. It costs
    a backward pass through the classifier for each evaluation, none through the prior. Labels out of range give NaN.

    Args:
        prior: The prior that is guided, conditional or not.
        classifier: What ``io.load_classifier`` returns, (network, parameters, schedule); or a function
            ``fn(x_t, t) -> logits``, ``fn(params, x_t, t)`` where ``params`` are given, shapes (H, W, C), () and (K,).
            Define it once: another function object is another compilation.
        scale: Of the classifier's gradient, a number or one for each timestep of the schedule, shape (T,), e.g.
            ``4 * conditional_scale(...)``. 1 is Bayes' rule; published samples use 0.5 to 10. Traced.
        params: Pytree of arrays for a function.
        conditional: Whether the prior is given the class too. If None, it is where its network has classes; other
            priors count as unconditional.

    Raises:
        ValueError: If the classifier was trained on another schedule, ``params`` come with a loaded classifier or the
            scale has neither shape. When called: if there is no label, or a concrete one is out of range.
        TypeError: If the label is not one integer, when called.

    Source:
        Dhariwal & Nichol 2021 (arXiv 2105.05233), algorithm 2.
    """
    check_prior("classifier_guided", prior)
    if isinstance(classifier, tuple):
        if len(classifier) != 3:
            raise ValueError(
                "classifier_guided: classifier has not 3 parts, (network, parameters, schedule), in order."
            )
        if params is not None:
            raise ValueError("params belong to a classifier that is a function; a loaded one brings its own.")
        net, params, schedule = classifier
        _check_schedule("the classifier", schedule, prior.schedule)
        logits: Logits = _NetLogits(net)
    else:
        needed = "what io.load_classifier returns, or a function (x_t, t) -> logits"
        check_callable("classifier_guided: classifier", classifier, needed)
        logits = classifier
    return ClassifierGuided(
        schedule=prior.schedule,
        prior=prior,
        params=params,
        scale=_scale(scale, prior.schedule),
        logits=logits,
        conditional=_num_classes(prior) is not None if conditional is None else conditional,
    )


def classifier_free(
    prior: Prior,
    scale: Float[Array, "*T"] | float,
    *,
    unconditional: Prior | None = None,
    null_label: int | None = None,
    null: jax.Array | None = None,
) -> ClassifierFree:
    """Guides a conditional prior to the class ``Problem.cond`` without a classifier.

    ``eps_hat = eps_hat(x_t) + scale * (eps_hat(x_t, y) - eps_hat(x_t))``; two evaluations instead of one.

    The published guided-diffusion networks were trained without leaving out labels and reserve none: use them with
    ``unconditional``, e.g. ``256x256_diffusion.pt`` with ``256x256_diffusion_uncond.pt``. ``null_label`` is for
    networks trained to know one label as "any class", mostly the last (``num_classes - 1`` of the embedding).

    Args:
        prior: The conditional prior.
        scale: A number or one for each timestep, shape (T,); 0 is the unconditional prior, 1 the conditional one. The
            paper's w is this scale minus 1. Traced.
        unconditional: The unconditional prior, of the same schedule.
        null_label: The label that stands for any class, instead.
        null: The condition that stands for none, instead: of a network that attends to a text
            (``rd.nets.ConditionalUNet``) the tokens of the empty one, (T, D). ``cond`` is then tokens, too.

    Raises:
        ValueError: If not one of ``unconditional``, ``null_label`` and ``null`` is given, the schedules differ, the
            network has no such label, or the scale has neither shape. When called: if there is no label.
        TypeError: If the label is not one integer, when called.

    Source:
        Ho & Salimans 2022 (arXiv 2207.12598), eq. 6.
    """
    check_prior("classifier_free", prior)
    if sum(each is not None for each in (unconditional, null_label, null)) != 1:
        raise ValueError(
            "classifier_free needs either unconditional=prior, null_label=index or null=tokens; they predict without a "
            "class or text."
        )
    if unconditional is not None:
        check_prior("classifier_free", unconditional, "unconditional")
        _check_schedule("the unconditional prior", unconditional.schedule, prior.schedule)
    num_classes = _num_classes(prior)
    if null_label is not None and num_classes is not None:
        _check_class("null_label", jnp.asarray(null_label), num_classes)
    return ClassifierFree(
        schedule=prior.schedule,
        prior=prior,
        scale=_scale(scale, prior.schedule),
        unconditional=unconditional,
        null_label=null_label,
        null=None if null is None else jnp.asarray(null),
    )


def conditional_scale(schedule: Schedule, timesteps: Int[Array, "*N"], *, eta: float = 0.0) -> Float[Array, "T"]:
    """Factor for each timestep by which a published option scales a classifier.

    ``alpha_s / (alpha_s - c2 alpha_t / sigma_t)`` with s the next lower timestep of the grid (the clean image below the
    lowest) and c2 the weight of eps_hat in DDIM's transition from t to s. The classifier then moves x_s as far as it
    moves alpha_s x_hat; plain guidance moves c2 eps_hat against it. A prior knows only t, so the grid enters here::

        guided = rd.classifier_guided(prior, classifier, 2.0 * rd.conditional_scale(prior.schedule, timesteps))

    Args:
        schedule: The variance-preserving schedule of the prior.
        timesteps: The solver's grid, in any order, e.g. ``prior.schedule.timesteps(100)`` or ``solver.timesteps``.
        eta: Share of fresh noise in the transition, 0 (DDIM) to 1 (ancestral).

    Returns:
        Factors (T,), defined for timesteps between those of the grid too.

    Raises:
        ValueError: If ``eta`` is not in [0, 1], or a timestep is not in the schedule.

    Source:
        Option ``cond_awd`` of the published RED-diff experiments, off by default there; computed for each image here,
        where the published code used the first image of a batch.
    """
    check_type("conditional_scale: schedule", schedule, Schedule, "a Schedule: prior.schedule")
    check_non_negative("eta", eta)
    if not eta <= 1:
        raise ValueError(f"eta is {eta} but must be between 0 (DDIM) and 1 (ancestral sampling).")
    grid = np.unique(np.asarray(timesteps))
    total = schedule.num_timesteps
    if grid.size == 0 or grid[0] < 0 or grid[-1] >= total or not np.issubdtype(grid.dtype, np.integer):
        raise ValueError(f"timesteps must be some of 0..{total - 1}, the schedule's, got {grid[:3]}...{grid[-3:]}.")
    alphas, sigmas = np.asarray(schedule.alphas, np.float64), np.asarray(schedule.sigmas, np.float64)
    below = np.append(-1, grid)[np.searchsorted(grid, np.arange(total))]  # (T,), -1 under the lowest
    # The clean image comes last, where -1 finds it.
    alpha_s, sigma_s = np.append(alphas, 1.0)[below], np.append(sigmas, 0.0)[below]
    c1 = eta * np.sqrt(1 - (alphas / alpha_s) ** 2) * sigma_s / sigmas
    c2 = np.sqrt(np.maximum(sigma_s**2 - c1**2, 0.0))
    return jnp.asarray(alpha_s / (alpha_s - c2 * alphas / sigmas), dtype=float)


@dataclass(frozen=True)
class _NetLogits:
    """A network as a function; equal networks are equal functions, and share a compilation."""

    net: nn.Module

    def __call__(self, params: Any, x_t: Image, t: Timestep) -> jax.Array:
        return self.net.apply({"params": params}, x_t, jnp.asarray(t))  # type: ignore[return-value]


def _label(who: str, cond: Condition) -> Int[Array, ""]:
    """The class in a condition, which may also be a dictionary."""
    label = cond.get("label") if isinstance(cond, Mapping) else cond
    if label is None:
        raise ValueError(f"{who} needs a class but the condition has none; pose rd.problem(..., cond=label).")
    if not jnp.issubdtype(jnp.result_type(label), jnp.integer) or jnp.ndim(label):
        raise TypeError(
            f"{who}: the class in cond is {jnp.result_type(label)}{list(jnp.shape(label))} but must be one integer, "
            "e.g. jnp.int32(207); a batch of labels goes through jax.vmap."
        )
    return jnp.asarray(label)


def _without_label(cond: Condition) -> Condition:
    """The rest of a condition, such as an upsampler's small image."""
    rest = {name: value for name, value in cond.items() if name != "label"} if isinstance(cond, Mapping) else {}
    return rest or None


def _check_class(name: str, label: Int[Array, ""], num_classes: int) -> Int[Array, ""]:
    values = numbers(label)
    if values is not None and (wrong := values[(values < 0) | (values >= num_classes)]).size:
        raise ValueError(f"{name} is class {wrong[0]} but there are {num_classes}, 0 to {num_classes - 1}.")
    return label


def _check_schedule(who: str, theirs: Schedule, ours: Schedule) -> None:
    same_length = theirs.num_timesteps == ours.num_timesteps
    if not same_length or (
        is_visible(theirs, ours) and not np.allclose(numbers(theirs.sigmas), numbers(ours.sigmas), rtol=1e-3, atol=1e-6)  # type: ignore[arg-type]
    ):
        raise ValueError(
            f"{who} has a schedule of {theirs.num_timesteps} timesteps and the prior one of {ours.num_timesteps}, "
            "or their noise levels differ; both must know the same noise at a timestep."
        )


def _num_classes(prior: Prior) -> int | None:
    return getattr(prior.net, "num_classes", None) if isinstance(prior, NetPrior) else None


def _scale(scale: jax.Array | float, schedule: Schedule) -> jax.Array:
    check_non_negative("scale", scale)
    # Numbers stay weakly typed, like those of prior.replace(scale=2.0): a change of type is a compilation.
    scale = jnp.asarray(float(scale)) if isinstance(scale, int | float) else jnp.asarray(scale, dtype=float)
    if scale.shape not in ((), (schedule.num_timesteps,)):
        raise ValueError(
            f"scale has shape {scale.shape} but must be one number or one for each timestep, "
            f"({schedule.num_timesteps},); a batch of scales goes through jax.vmap."
        )
    return scale
