"""A user's file: a type checker must see the installed package's types in it."""

import jax

import reddiff_jax as rd

problem = rd.problem(jax.numpy.zeros((8, 8, 3)), rd.denoising((8, 8, 3)), rd.gaussian(0.05))
solver: rd.Solver = rd.noise_aware(rd.load_prior(), num_steps=3)
solution: rd.Solution = rd.run(jax.random.key(0), solver, problem)
restored: jax.Array = solution.x
