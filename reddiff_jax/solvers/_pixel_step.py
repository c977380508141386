"""The step of a latent prior that solves for the measurement in pixels."""

from typing import Any

from flax import struct

from reddiff_jax._checks import check_whole
from reddiff_jax._types import Image
from reddiff_jax.operators import Decoding
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._proximal import proximal
from reddiff_jax.solvers._steps import Step, Terms


@struct.dataclass
class PixelStep(Step):
    """The step that solves for the measurement in pixels; build it with ``pixel_step``."""

    num_cg: int = struct.field(pytree_node=False)
    num_newton: int = struct.field(pytree_node=False)

    gamma = 1e-3

    def __call__(self, terms: Terms, mu: Image, opt_state: Any, problem: Problem) -> tuple[Image, Any]:
        """``z + encode(v) - encode(x)``: x = decode(z), z = mu - pull, and v is the proximal step from x."""
        operator = problem.operator
        if not isinstance(operator, Decoding):
            raise TypeError(
                f"pixel_step needs a problem of latents; {type(operator).__name__} measures pixels. Use "
                "rd.latent_solver(solver, latent), problem.through(latent), or rd.proximal_step()."
            )
        z = mu - terms.pull
        x = operator.decode(z)
        # One unit of z is gain pixels: |x - v|^2 is gain^2 |z - z'|^2.
        rho = terms.kappa / operator.autoencoder.gain**2
        pixels = problem.replace(operator=operator.operator, init=None)  # type: ignore[attr-defined]
        v = proximal(pixels, x, rho, self.num_cg, self.num_newton)
        # The difference, because what encoding changes by itself would add up over the steps.
        return z + operator.encode(v) - operator.encode(x), opt_state


def pixel_step(*, num_cg: int = 10, num_newton: int = 1) -> Step:
    """The step of latent priors that needs no derivative of the decoder.

    The latent z = mu - r (eps_hat - c eps) is decoded to x; a proximal step in pixels, exact where ``proximal_step``
    is, finds the v nearby that explains the measurement; and what it changed is encoded: ``mu <- z + encode(v) -
    encode(x)``. With an orthonormal decoder this is ``proximal_step`` itself. It takes a decoding and two encodings.

    Args:
        num_cg: Steps of conjugate gradients where there is no closed form.
        num_newton: Gauss-Newton steps for operators that are not linear.

    Raises:
        ValueError: If one is below 1. When run: TypeError, if the problem is not one of latents.

    Source:
        ReSample (Song et al. 2023, arXiv 2307.08123), section 3.2, whose pixel optimisation this is in closed form.
        Departures: what changed is encoded instead of v, and no noise is added back: the variational step does that.
    """
    check_whole("num_cg", num_cg)
    check_whole("num_newton", num_newton)
    return PixelStep(num_cg, num_newton)
