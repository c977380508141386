"""Motion that is found is the motion that was."""

import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd


def _blobs(shift: float) -> np.ndarray:
    """(24, 24, 3) with a pattern that moved ``shift`` pixels to the right."""
    rows, columns = np.mgrid[:24, :24].astype(np.float32)
    gray = np.sin(rows / 2.5) * np.sin((columns - shift) / 3)
    return np.repeat(0.8 * gray[..., None], 3, axis=2).astype(np.float32)


def test_a_flow_says_where_pixels_were_in_the_frame_before():
    pytest.importorskip("skimage")
    (flow,) = rd.estimate_motion([_blobs(0), _blobs(1.5)])
    assert flow.shape == (24, 24, 2)
    inside = flow[4:-4, 4:-4]
    np.testing.assert_allclose(inside.mean((0, 1)), [0, -1.5], atol=0.1)  # pixels, of a pattern with flat places
    moved = rd.warping(flow)(jnp.asarray(_blobs(0)))
    assert np.abs(moved - _blobs(1.5))[4:-4, 4:-4].max() < 0.1


def test_what_was_not_there_before_comes_from_outside():
    pytest.importorskip("skimage")
    before, after = _blobs(0), _blobs(0)
    after[12:20, 4:14] = [0.9, -0.9, 0.9]
    (flow,) = rd.estimate_motion([before, after])
    seen = np.asarray(rd.warping(flow)(jnp.ones((24, 24, 3))))[..., 0]
    assert (seen[14:18, 6:12] == 0).all()
    assert (seen[:8] == 1).mean() > 0.9


def test_whole_pixels_move_as_they_are_and_what_was_outside_is_0():
    x = jnp.arange(12.0).reshape(3, 4, 1)
    y = rd.warping(np.broadcast_to([1.0, -1.0], (3, 4, 2)), channels=1)(x)
    np.testing.assert_array_equal(y[:, :, 0], [[0, 4, 5, 6], [0, 8, 9, 10], [0, 0, 0, 0]])


def test_half_a_pixel_is_the_mean_of_two():
    x = jnp.asarray([[0.0, 1.0, 3.0], [0.0, 1.0, 3.0]])[..., None]
    y = rd.warping(np.broadcast_to([0.0, 0.5], (2, 3, 2)), channels=1)(x)
    np.testing.assert_allclose(y[0, :, 0], [0.5, 2.0, 0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rd.warping(np.zeros((2, 8, 8))), r"must be \(H, W, 2\).*np\.moveaxis\(flow, 0, 2\)"),
        (lambda: rd.estimate_motion(np.zeros((8, 8, 3))), r"must be \(T, H, W, C\)"),
        (lambda: rd.estimate_motion(np.zeros((1, 8, 8, 3))), "of two or more"),
    ],
)
def test_what_is_no_flow_or_clip_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
