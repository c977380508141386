"""Noise-aware RED-diff: the prior's weight follows the measurement noise and the noise level; nothing is tuned.

RED-diff's expected prior term at level r = sigma_t / alpha_t is the gradient of KL(N(mu, r^2 I) || p_r), p_r the prior
blurred by r (score matching, with eps_hat the network's output at x_t = alpha_t (mu + r z))

    E_z[eps_hat - z] = r grad_mu KL,    for a prior N(m, C)   = r (C + r^2)^-1 (mu - m)

As r falls the mode of the posterior needs ``sigma_y^2 grad_mu KL`` beside ``A^T (A mu - y)``. Every published weight
falls below that, so that the end of a run fits the noise. Here

    g = A^T (A mu - y) + kappa_t r (eps_hat - c z),    kappa_t = gamma a + lam sigma_y^2 / r^2,    a = tr(A A^T) / m

with lam = 1 for the posterior, and a small gamma for what is measured without noise. All c are unbiased as E z = 0;
c = <eps_hat, z> / <z, z> takes out most of the gradient's noise, which c = 1 (published) leaves at about 1 where r is
small and the weight is large. Levels are even in log r, from sigma_max to sigma_y / 4: at lower levels nothing is
left to decide. For linear A the step is exact and has no length to be chosen:

    mu <- mu - (A^T A + kappa)^-1 g = argmin_x |A x - y|^2 + kappa |x - (mu - r (eps_hat - c z))|^2

**Samples.** For a Gaussian prior the iteration with c = 1 ends with variance C / 2 where nothing is measured: too
little, whatever the optimizer. With half the step and c = 2, i.e. from u = mu + r z to ``v = u - (r / 2) eps_hat`` and
then ``(A^T A + k)^-1 (A^T y + k v)``, ``k = 2 sigma_y^2 / r^2``, it is an annealed Langevin step of size r^2 / 2 whose
data term is implicit: variance C + r^2 / 4 + O(r^4 / C) there, and sigma_y^2 / (1 + r^2 / (4 sigma_y^2)) where only the
measurement speaks.

**Trained networks.** For exact priors more steps come nearer to the mode. For a trained network the mode does not
minimise the squared error, and the network errs more on pictures as smooth as a mode: the mean of short runs
(``rd.averaged(rd.noise_aware(prior), 4)``) is better than one long run, more evaluations are best spent on more
runs, and where little of the picture is measured ``lam`` should be well below 1 (benchmarks/net_error.py).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax

from reddiff_jax._checks import check_callable, check_non_negative, check_positive, check_type, check_whole
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.schedules import Schedule
from reddiff_jax.solvers._base import scalar
from reddiff_jax.solvers._control_variates import CONTROL_VARIATE, ControlVariate, variate_projected, variate_published
from reddiff_jax.solvers._draws import Fresh, NoiseSource, keys_of_noise
from reddiff_jax.solvers._initial_images import Init, init_by_operator
from reddiff_jax.solvers._levels import FallingLevels, check_falling
from reddiff_jax.solvers._reductions import total
from reddiff_jax.solvers._steps import (
    LangevinStep,
    Step,
    as_step,
    langevin_step,
    proximal_step,
)
from reddiff_jax.solvers._variational import RedDiff
from reddiff_jax.solvers._weights import NoiseAwareWeight


class Defaults(NamedTuple):
    """What suits a trained network."""

    lam: float
    sigma_max: float
    num_steps: int


POINT = Defaults(lam=0.35, sigma_max=1.0, num_steps=25)
SAMPLE = Defaults(lam=1.0, sigma_max=0.5, num_steps=100)


def noise_aware(
    prior: Prior,
    step: Step | optax.GradientTransformation | None = None,
    *,
    lam: jax.Array | float | None = None,
    gamma: jax.Array | float | None = None,
    num_steps: int | None = None,
    sigma_max: jax.Array | float | None = None,
    sigma_min: jax.Array | float = 0.02,
    control_variate: ControlVariate = variate_projected,
    noise: NoiseSource | None = None,
    sample: bool = False,
    to_timestep: Callable[[Schedule, jax.Array], jax.Array] = Schedule.nearest,
    num_cg: int = 10,
    init: Init = init_by_operator,
) -> RedDiff:
    """RED-diff that respects the measurement noise, with one setting for all noise levels.

    A run is a point estimate, near a mode of the posterior; ``rd.averaged`` averages several, which has the higher
    PSNR; ``sample=True`` draws from the posterior instead. ``rd.default_solver`` adapts the settings to a problem.

    ``problem.noise.sigma_y`` is used as given. Rounding is noise, too: for a picture of 8 bits sigma_y is at least
    0.0023 (``pictures.ROUNDING_SIGMA``). With a smaller value rounding dominates the inverse of a wide blur.

    Args:
        prior: Diffusion prior.
        step: How mu moves, as for ``reddiff``; ``proximal_step`` if None, which serves operators that are not linear,
            too.
        lam: Weight of the prior in units of the posterior's, sigma_y^2 / r^2. 1 suits samples (their default) and exact
            priors, if sigma_y is right. For point estimates with a trained network 0.35, their default, is better where
            little is measured.
        gamma: Weight of the prior that stays where sigma_y is small, in units of a = tr(A A^T) / m. If None 0.001 for
            proximal steps, 0.03 for an optimizer, 1e-6 for samples.
        num_steps: Number of updates, one network evaluation each. Point estimates with a trained network need 20
            to 50 (default 25), by an optimizer 300. Samples of an exact prior improve with more; with a trained network
            take 100 (default), since longer runs invent more (benchmarks/noise_aware.py).
        sigma_max: First noise level sigma_t / alpha_t in pixel units: if None 1 for point estimates and 0.5 for
            samples, which suit ``init_smooth``. Raise it to 3 for ``init_pinv``, to 10 or 30 where the initial image
            says little.
        sigma_min: Least noise level; the last one is sigma_y / 4, or sigma_y / (4 sqrt(a)) for a > 1, if that is
            larger.
        control_variate: ``variate_projected``, ``variate_published``, ``variate_none`` or a function (eps_hat, z) -> c.
        noise: Where the noise comes from: fresh in each step if None, or ``carried_noise``, which needs
            ``control_variate=variate_published``.
        sample: Draw from the posterior by ``langevin_step``, as with that step.
        to_timestep: Function (schedule, noise level) -> timestep: ``rd.Schedule.nearest``, integers, or
            ``rd.Schedule.fractional`` for priors that take any t.
        num_cg: Steps of conjugate gradients where there is no closed form; a ``step`` has its own.
        init: Initial image: by default ``init_smooth`` for linear operators, ``init_middle`` for saturating ones and
            ``init_pinv`` for others; or another, see ``reddiff``.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: For values that make no sense or do not fit together.

    Source:
        RED-diff: Mardani et al. 2023 (arXiv 2305.04391). Departures: the module's derivation; sums over entries and
        pixels, where the published objective has means. Control variates of score identities: arXiv 2512.20003. The
        half step is a relative of the split Gibbs sampler PnP-DM (Wu et al. 2024, arXiv 2405.18782).
    """
    check_prior("noise_aware", prior)
    noise = Fresh() if noise is None else noise
    check_type("noise", noise, NoiseSource, "a noise source, such as rd.solvers.carried_noise(0.8)")
    if noise.carries and control_variate is not variate_published:
        raise ValueError("carried noise needs control_variate=rd.solvers.variate_published, c = 1; give both.")
    step = None if step is None else as_step(step)
    check_callable("control_variate", control_variate, CONTROL_VARIATE)
    check_callable("to_timestep", to_timestep, "a function (schedule, level) -> t, such as rd.Schedule.nearest")
    sample = sample or isinstance(step, LangevinStep)
    if sample and not (isinstance(step, LangevinStep | None) and control_variate is variate_projected):
        raise ValueError("sample=True has its own step, langevin_step, and control variate; leave out others.")
    defaults = SAMPLE if sample else POINT
    lam = defaults.lam if lam is None else lam
    sigma_max = defaults.sigma_max if sigma_max is None else sigma_max
    num_steps = defaults.num_steps if num_steps is None else num_steps
    check_non_negative("lam", lam)
    if gamma is not None:
        check_non_negative("gamma", gamma)
    check_positive("sigma_max", sigma_max)
    check_positive("sigma_min", sigma_min)
    check_falling(sigma_max, sigma_min)
    check_whole("num_steps", num_steps)
    if step is None and sample:
        step = langevin_step(num_cg=num_cg)
    elif step is None:
        step = proximal_step(num_cg=num_cg)
    return RedDiff(
        prior=prior,
        levels=FallingLevels(scalar(sigma_max), scalar(sigma_min), to_timestep, num_steps),
        weight=NoiseAwareWeight(None if gamma is None else scalar(gamma)),
        step_rule=step,
        lam=scalar(lam),
        obs_weight=scalar(1.0),
        control_variate=control_variate,
        reduction=total,
        initial_image=init,
        keys=keys_of_noise,
        noise=noise,
    )
