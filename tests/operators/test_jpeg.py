"""JPEG: the format's tables and pictures as Pillow has them; idempotence; derivatives; projection onto the bins."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import reddiff_jax.operators as ops
from reddiff_jax.operators.jpeg import _CHROMINANCE, _LUMINANCE, _YCBCR, quantization_table

SHAPE = (16, 32, 3)


def _picture(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Coloured waves, 8 bits, away from the ends of the range."""
    phase = np.random.default_rng(seed).uniform(0, 6, (3, shape[2]))
    rows, columns = np.arange(shape[0])[:, None, None], np.arange(shape[1])[None, :, None]
    waves = np.sin(rows / 3 + phase[0]) + np.cos(columns / 5 + phase[1]) + np.sin((rows + columns) / 9 + phase[2])
    return np.round(127 + 30 * waves).astype(np.uint8)


def _in_range(picture: np.ndarray) -> jax.Array:
    return jnp.asarray(picture / 127.5 - 1, jnp.float32)


def _levels(y: jax.Array) -> np.ndarray:
    return (np.asarray(y, np.float64) + 1) * 127.5


def _pillow(picture: np.ndarray, quality: int, subsampling: int = 0, mode: str = "L") -> Image.Image:
    file = io.BytesIO()
    size = picture.shape[1::-1]
    Image.frombytes(mode, size, picture.tobytes()).save(file, "JPEG", quality=quality, subsampling=subsampling)
    decoded = Image.open(file)
    decoded.draft(mode, size)
    return decoded


def _root_mean_square(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


def _halve(planes: np.ndarray) -> np.ndarray:
    height, width, count = planes.shape
    return planes.reshape(height // 2, 2, width // 2, 2, count).mean((1, 3))


def _smooth(planes: np.ndarray) -> np.ndarray:
    """Means over 2 x 2 of the decoder's triangular interpolation, which is 1/8, 3/4, 1/8 along each axis."""
    for axis in (0, 1):
        planes = ndimage.correlate1d(planes, [1 / 8, 3 / 4, 1 / 8], axis=axis, mode="nearest")
    return planes


@jax.jit
def _measure(operator: ops.Operator, x: jax.Array) -> jax.Array:
    return operator(x)


@jax.jit
def _project(operator: ops.Jpeg, x: jax.Array, y: jax.Array) -> jax.Array:
    return operator.project(x, y)


@pytest.mark.slow
def test_tables_are_the_ijg_s_at_every_quality():
    qualities = jnp.arange(1, 101)
    ours = [
        np.asarray(jax.vmap(lambda q, b=base: quantization_table(b, q))(qualities))
        for base in (_LUMINANCE, _CHROMINANCE)
    ]
    black = np.zeros((8, 8, 3), np.uint8)
    for i, quality in enumerate(qualities):
        tables = _pillow(black, int(quality), mode="RGB").quantization
        for table, mine in zip(tables.values(), ours, strict=True):
            np.testing.assert_array_equal(mine[i].ravel(), table)


# Root mean square, in levels: half a level is the most that Pillow's rounding to 8 bits makes. That alone is 0.29,
# but its transforms are in integers, and coefficients near a tie can end in the neighbouring bin (0.42 was measured).
PILLOW = 0.5


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_grey_picture_is_pillow_s_to_its_rounding(quality):
    picture = _picture((16, 32, 1))
    y = _levels(_measure(ops.jpeg(picture.shape, quality), _in_range(picture)))
    assert _root_mean_square(y[:, :, 0] - np.asarray(_pillow(picture, quality))) < PILLOW


@pytest.mark.parametrize("quality", [10, 50, 90])
@pytest.mark.parametrize("subsampling", [1, 2])
def test_colour_picture_is_pillow_s_to_its_rounding(quality, subsampling):
    # Handed over and taken back in YCbCr: RGB of 8 bits has roundings of its own.
    picture = _picture(SHAPE)
    rgb = (picture - [0, 128, 128]) @ np.linalg.inv(_YCBCR).T
    y = _levels(_measure(ops.jpeg(SHAPE, quality, subsampling=subsampling), _in_range(rgb)))
    ours = y @ _YCBCR.T + [0, 128, 128]
    theirs = np.asarray(_pillow(picture, quality, {1: 0, 2: 2}[subsampling], "YCbCr"), np.float64)
    if subsampling == 2:
        # Pillow interpolates sub-sampled chroma, which we repeat; on average over 2 x 2 pixels that is a smoothing.
        chroma = _smooth(_halve(ours[:, :, 1:])) - _halve(theirs[:, :, 1:])
        assert _root_mean_square(chroma) < PILLOW
        ours, theirs = ours[:, :, :1], theirs[:, :, :1]
    assert _root_mean_square(ours - theirs) < PILLOW


@pytest.mark.parametrize("subsampling", [1, 2])
@pytest.mark.parametrize("quality", [5, 60, 100])
def test_compression_is_idempotent_where_blocks_fit(quality, subsampling):
    operator = ops.jpeg(SHAPE, quality, subsampling=subsampling)
    once = _measure(operator, _in_range(_picture(SHAPE)))
    # The same whole coefficients; the transforms' rounding in float32, of values up to 255 scaled to [-1, 1].
    np.testing.assert_allclose(_measure(operator, once), once, atol=2e-6)


@pytest.mark.parametrize("shape", [(9, 13, 3), (5, 21, 1)])
def test_any_size_is_compressed_as_if_its_border_went_on(shape):
    picture = _picture(shape)
    side = 16 if shape[2] == 3 else 8
    missing = [(0, -size % side) for size in shape[:2]]
    larger = np.pad(picture, [*missing, (0, 0)], mode="edge")
    whole = _measure(ops.jpeg(larger.shape, 30), _in_range(larger))
    np.testing.assert_allclose(
        _measure(ops.jpeg(shape, 30), _in_range(picture)), whole[: shape[0], : shape[1]], atol=2e-6
    )


def test_hard_derivative_is_zero_and_straight_through_is_a_projection():
    x, v = _in_range(_picture(SHAPE)), _in_range(_picture(SHAPE, seed=1))

    @jax.jit
    def slope(operator, v):
        return jax.jvp(operator, (x,), (v,))[1]

    assert not slope(ops.jpeg(SHAPE, 20, straight_through=False), v).any()
    once = slope(ops.jpeg(SHAPE, 20), v)
    assert np.abs(once).max() > 0.1
    # Chroma is averaged and repeated, and everything else kept: twice is once, in float32.
    np.testing.assert_allclose(slope(ops.jpeg(SHAPE, 20), once), once, atol=1e-5)


@pytest.mark.parametrize("subsampling", [1, 2])
def test_projection_lands_in_the_bin_and_stays_there(subsampling):
    with jax.enable_x64(True):
        operator = ops.jpeg(SHAPE, 20, subsampling=subsampling)
        x, other = (jnp.asarray(_picture(SHAPE, seed) / 127.5 - 1) for seed in (0, 1))
        y = _measure(operator, other)
        projected = _project(operator, x, y)
        for mine, measured in zip(*map(jax.jit(operator.coefficients), (projected, y)), strict=True):
            assert np.abs(mine - np.round(measured)).max() <= 0.5 + 1e-9  # float64
        np.testing.assert_allclose(_project(operator, projected, y), projected, atol=1e-12)


def test_projection_leaves_alone_what_is_compressed_to_the_measurement():
    operator, x = ops.jpeg(SHAPE, 20), _in_range(_picture(SHAPE))
    np.testing.assert_allclose(_project(operator, x, _measure(operator, x)), x, atol=1e-6)


def test_projection_of_the_start_is_no_farther_from_the_truth():
    operator, x = ops.jpeg(SHAPE, 20), _in_range(_picture(SHAPE))
    start = _in_range(_picture(SHAPE, seed=1))
    projected = _project(operator, start, _measure(operator, x))
    # x is in the convex bin, so projecting onto it brings any start nearer (in YCbCr; here in RGB, by far).
    assert np.linalg.norm(projected - x) < 0.5 * np.linalg.norm(start - x)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((SHAPE, 0), {}, "quality is 0 .* from 1 .* to 100"),
        ((SHAPE, 101), {}, "quality is 101"),
        ((SHAPE, 20.5), {}, "quality is 20.5 .* whole number"),
        (((8, 8, 2), 20), {}, "3 channels .* or 1"),
        ((SHAPE, 20), {"subsampling": 4}, "subsampling is 4 but must be 2"),
    ],
)
def test_what_jpeg_does_not_have_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ops.jpeg(*arguments, **options)
