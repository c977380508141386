"""RED-diff in JAX: inverse problems with diffusion priors, many different measurements in one compiled call.

A Solver turns a Problem (measurement y, Operator, Noise, condition) and a Prior into a Solution::

    import jax, reddiff_jax as rd

    problem = rd.problem(y, rd.inpainting(mask), rd.gaussian(0.05))
    solver = rd.default_solver(rd.load_prior(), problem)
    x = rd.run(jax.random.key(0), solver, problem).x

Everything is written for one image ``(H, W, C)`` in [-1, 1]; a batch is ``jax.vmap``.
"""

from reddiff_jax._lazy import attributes

__version__ = "0.2.0"

__getattr__, __dir__ = attributes(__name__, __file__)
