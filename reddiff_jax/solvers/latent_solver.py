"""A solver of latents as a solver of pictures."""

from typing import Any

import jax
from flax import struct

from reddiff_jax._checks import check_type
from reddiff_jax._repr import Repr
from reddiff_jax._types import Image, Key
from reddiff_jax.autoencoders import serving
from reddiff_jax.latents import Latent
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import Solver


@struct.dataclass
class LatentState(Repr):
    """All that the next step needs."""

    inner: Any  # the solver's State, of z
    in_shape: tuple[int, int, int] = struct.field(pytree_node=False)  # of the picture

    @property
    def step(self) -> jax.Array:
        """Number of steps done."""
        return self.inner.step


@struct.dataclass
class LatentSolver(Solver[LatentState]):
    """A solver through an autoencoder; build it with ``latent_solver``."""

    solver: Solver
    latent: Latent

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.solver.num_steps

    def init(self, key: Key, problem: Problem) -> LatentState:
        """Returns the state before the first step."""
        return LatentState(self.solver.init(key, problem.through(self.latent)), problem.operator.in_shape)

    def step(self, key: Key, state: LatentState, problem: Problem) -> tuple[LatentState, Any]:
        """Does one step of the latent."""
        # An initial image has done its work, and encoding it takes time.
        posed = problem.replace(init=None).through(self.latent)  # type: ignore[attr-defined]
        inner, info = self.solver.step(key, state.inner, posed)
        return LatentState(inner, state.in_shape), info

    def estimate(self, state: LatentState) -> Image:
        """Returns the decoded picture; of a solver of particles that of each."""
        h, w, channels = state.in_shape
        z, decode = self.solver.estimate(state.inner), serving(self.latent.autoencoder, channels).decode
        for _ in range(z.ndim - 3):
            decode = jax.vmap(decode)
        return decode(z)[..., :h, :w, :]


def latent_solver(solver: Solver, latent: Latent) -> LatentSolver:
    """A solver whose unknown is a latent, for problems and pictures in pixels.

    ``rd.run(key, rd.latent_solver(rd.dps(latent.prior), latent), problem).x`` is a picture. It starts from the latent
    of the initial image, which is chosen in pixels: the pseudo-inverse, the smoothest image, or ``problem.init``. The
    mean of several runs is that of pictures: ``rd.averaged(rd.latent_solver(...), 4)``.

    Solvers that ask the operator for a derivative (``rd.reddiff`` with an optimizer, ``rd.dps``, Gauss-Newton steps)
    take it through the decoder. ``rd.noise_aware(latent.prior, rd.pixel_step())`` does not.

    Args:
        solver: Any solver, built with ``latent.prior``.
        latent: What ``rd.latent`` gives, or ``rd.load_prior`` for a latent prior's folder.

    Raises:
        TypeError: If an argument is of another type. When run: ValueError, for pictures of channels that the
            autoencoder does not serve.

    Source:
        The measurement through the decoder: PSLD (Rout et al. 2023, arXiv 2307.00619), eq. 4.
    """
    check_type("latent_solver: solver", solver, Solver, "a Solver of latent.prior, such as rd.dps(latent.prior)")
    check_type("latent_solver: latent", latent, Latent, "a Latent, such as rd.latent(prior, autoencoder)")
    return LatentSolver(solver, latent)
