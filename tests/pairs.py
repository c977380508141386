"""Solvers with operators, for the tests that compile pairs of them."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import pytest
from cases import EXTRA_CASES, OPERATORS, SOLVERS, OperatorCase, SolverCase

import reddiff_jax as rd

# Left out are those of the same struct: they compile to the same program, or one more loop.
SOLVER_CASES = [
    c
    for c in SOLVERS
    if c.name
    not in (
        "reddiff_averaged",
        "reddiff_published",
        "perturb_and_optimise",
        "reddiff_noise_aware",
        "averaged",
        "repulsive",
        "sds",
        "sds_var",
        "parametrised",  # of pictures of one size
        "latent_solver",  # likewise
    )
]
# Slices of volumes need a prior of volumes: tests/test_volumes.py.
OPERATOR_CASES = [c for c in OPERATORS if c.name not in EXTRA_CASES and c.factory != "each_slice"]

every_solver = pytest.mark.parametrize("solver_case", SOLVER_CASES, ids=lambda case: case.name)
every_operator = pytest.mark.parametrize("operator_case", OPERATOR_CASES, ids=lambda case: case.name)


def make_operator(case: OperatorCase, seed: int = 0) -> rd.operators.Operator:
    """The operator, in the precision of now; skips the test where its extra is not installed."""
    if case.requires and importlib.util.find_spec(case.requires) is None:
        pytest.skip(f"needs {case.requires}")
    return _made(case, seed, jax.config.jax_enable_x64)


@functools.cache
def _made(case: OperatorCase, seed: int, x64: bool) -> rd.operators.Operator:
    return case.make(seed)


def make_problem(case: OperatorCase, seed: int = 0) -> rd.Problem:
    """A measurement of a smooth picture by that operator."""
    operator = make_operator(case, seed)
    h, w, c = operator.in_shape
    rows, columns = jnp.meshgrid(jnp.linspace(0, 1 + seed, h), jnp.linspace(0, 2, w), indexing="ij")
    x = jnp.broadcast_to(0.5 * jnp.sin(3 * rows + 2 * columns)[..., None], (h, w, c))
    return rd.problem(jax.jit(type(operator).__call__)(operator, x), operator, rd.gaussian(0.1))


def make_solver(case: SolverCase, operator_case: OperatorCase) -> rd.Solver:
    """The solver, with a prior for the operator's pictures."""
    shape = make_operator(operator_case).in_shape
    solver = case.make(rd.gaussian_prior(jnp.zeros(shape), 0.25, rd.schedules.linear()))
    if operator_case.has_pinv or not hasattr(solver, "initial_image"):
        return solver
    return solver.replace(initial_image=rd.solvers.init_zeros)
