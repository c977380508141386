"""Solvers as others may write them, for test_enter.py, which gives this file to benchmarks/enter.py."""

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd


def pinv(problem):
    return problem.operator.pinv(problem.y)


def by_the_package(prior):
    return rd.ddrm(prior, num_steps=3)


def by_a_function(key, prior, problem):
    return rd.run(key, rd.ddrm(prior, num_steps=3), problem).x


def in_numpy(problem):
    return np.array(problem.operator.pinv(problem.y))


class OfItsOwn:
    """Has the four parts, and is no rd.Solver."""

    num_steps = 2

    def __init__(self, prior):
        self.solver = rd.ddrm(prior, num_steps=2)

    def init(self, key, problem):
        return self.solver.init(key, problem)

    def step(self, key, state, problem):
        return self.solver.step(key, state, problem)

    def estimate(self, state):
        return self.solver.estimate(state)


class Incomplete:
    def __init__(self, prior):
        pass

    def init(self, key, problem):
        return problem.y


def unnamed(x, y):
    return x


def of_the_measurement(problem):
    return jnp.zeros((3, 3))


def a_solution(key, prior, problem):
    return rd.run(key, by_the_package(prior), problem)


def complex_numbers(problem):
    return jax.lax.complex(pinv(problem), pinv(problem))


def not_finite(problem):
    return jnp.full(problem.operator.in_shape, jnp.nan)


def failing(problem):
    raise RuntimeError("it is Sunday\nand raining")


READY = rd.ddrm(rd.gaussian_prior(jnp.zeros((4, 1, 1)), jnp.ones((4, 1, 1)), rd.schedules.linear()))
