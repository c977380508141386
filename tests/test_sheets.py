"""Panels of pictures."""

import numpy as np

from reddiff_jax import pictures, plot


def test_panel_shows_pixels_enlarged_by_a_whole_factor():
    x = np.linspace(-1, 1, 16 * 16 * 3).reshape(16, 16, 3)
    sheet = plot.sheet([[x, x[:8, :8]]], columns=("large", "small"), rows=("one",), min_cell=64)
    shown = pictures.to_uint8(x).repeat(4, axis=0).repeat(4, axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(sheet, shown.shape)
    assert (windows == shown).all(axis=(-3, -2, -1)).any()
