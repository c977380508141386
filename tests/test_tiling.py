"""Tiles: they cover the picture with the least work that a bound of memory allows, and suit the network."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax._overlapping import starts
from reddiff_jax.nets import ResidualUNet, UNet
from reddiff_jax.tiling import Tiles, attention_per_pixel, choose_tiles, in_tiles

MOST = 512**2
CONVOLUTIONS = ResidualUNet(widths=(8, 16), num_res_blocks=1)
ATTENTION = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1, 1), attention_downsamples=(1, 2))


def _prior(net):
    return rd.priors.NetPrior(schedule=rd.schedules.linear(), params={}, net=net)


@pytest.mark.parametrize("shape", [(1024, 1024), (1000, 1500), (513, 512), (300, 4000), (2000, 3000)])
@pytest.mark.parametrize("stride", [1, 8, 32])
def test_tiles_cover_the_picture_within_the_bound(shape, stride):
    tiles = choose_tiles(shape, MOST, overlap=32, stride=stride)
    assert math.prod(tiles.size) <= MOST
    assert all(size == length or size % stride == 0 for size, length in zip(tiles.size, shape, strict=True))
    # As many as ``tiled`` makes of them, so that the work is what was said.
    made = rd.tiled(_prior(CONVOLUTIONS), tiles.size, tiles.overlap)
    counts = [len(starts(length, size, made.overlap)) for length, size in zip(shape, tiles.size, strict=True)]
    assert math.prod(counts) == tiles.count
    assert tiles.pixels < 1.3 * math.prod(shape)


def test_no_other_division_needs_less_work():
    shape, overlap = (700, 900), 32
    best = choose_tiles(shape, MOST, overlap=overlap)
    for rows in range(1, 8):
        for columns in range(1, 8):
            size = [-(-(length + (n - 1) * overlap) // n) for length, n in zip(shape, (rows, columns), strict=True)]
            assert math.prod(size) > MOST or rows * columns * math.prod(size) >= best.pixels


def test_a_square_of_1024_needs_half_of_what_squares_with_a_quarter_overlap_need():
    assert choose_tiles((1024, 1024), MOST, overlap=32, stride=8).pixels < 1.13 * 1024**2  # before: 2.25


def test_a_picture_within_the_bound_is_one_tile():
    assert choose_tiles((400, 600), MOST, overlap=32) == Tiles((400, 600), 32, 1)
    prior = _prior(CONVOLUTIONS)
    assert in_tiles(prior, (400, 600, 3), MOST) is prior


def test_tiles_share_less_where_they_are_small():
    assert choose_tiles((128, 128), 64**2, overlap=64).overlap == 16


def test_a_bound_below_the_network_s_stride_is_an_error():
    with pytest.raises(ValueError, match="most_pixels is 16 but tiles of 32 x 32"):
        choose_tiles((64, 64), 16, overlap=4, stride=32)


def test_attention_makes_tiles_smaller():
    assert attention_per_pixel(CONVOLUTIONS) == 0
    # Two matrix products of P^2 pixels with 32 channels, at full resolution; a quarter of them, squared, at half.
    assert attention_per_pixel(ATTENTION) > 0
    few, many = (choose_tiles((1024, 1024), MOST, overlap=32, attention=cost) for cost in (0.0, 1e-2))
    assert math.prod(many.size) < math.prod(few.size)


@pytest.mark.slow
def test_multiply_adds_are_those_of_the_fit():
    from reddiff_jax.nets import multiply_adds

    ratio = attention_per_pixel(ATTENTION)
    sides = np.array([64, 128, 256])
    work = np.array([multiply_adds(ATTENTION, int(side)) for side in sides]) / (sides**2 * (1 + ratio * sides**2))
    np.testing.assert_allclose(work, work[0], rtol=1e-2)  # the embedding of time is not in the fit


def test_the_overlap_is_of_the_network_s_coarsest_pixels_also_behind_a_wrapper():
    tiled = in_tiles(rd.gray_prior(_prior(CONVOLUTIONS)), (256, 256, 1), 128**2)
    assert tiled.overlap == 4 * CONVOLUTIONS.stride
    assert all(side % CONVOLUTIONS.stride == 0 for side in tiled.size)


def test_what_is_no_network_goes_in_tiles_too():
    prior = rd.prior(lambda x_t, t, cond: 0.5 * x_t, rd.schedules.linear())
    x = jnp.asarray(np.random.default_rng(0).normal(size=(100, 70, 1)), jnp.float32)
    np.testing.assert_allclose(jax.jit(in_tiles(prior, x.shape, 64**2).eps)(x, 5), 0.5 * x, atol=3e-6)  # float32
