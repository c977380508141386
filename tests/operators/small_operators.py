"""Small operators of RGB and grey pictures: one that is not linear, one with a large null space, and one for grey."""

import jax

import reddiff_jax.operators as ops

RGB = (8, 12, 3)
GREY = (8, 12, 1)


def _square(x: jax.Array) -> jax.Array:
    return x**2


SQUARE = ops.operator(_square, RGB)
GREYED = ops.colorization(RGB)
SMALL = ops.super_resolution(GREY, 2)
