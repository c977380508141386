"""Sheets: labelled grids of pictures as a picture, pixel for pixel, drawn by Pillow.

Commands write them, which so need no matplotlib.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax.pictures import to_uint8

_MARGIN, _INK, _PAPER, _FAINT = 6, (25, 25, 25), (255, 255, 255), (95, 95, 95)


def sheet(
    cells: Sequence[Sequence[np.ndarray | None]],
    *,
    columns: Sequence[str],
    rows: Sequence[str],
    captions: Sequence[Sequence[str]] | None = None,
    title: str = "",
    min_cell: int = 128,
) -> np.ndarray:
    """Draws a grid of pictures with a name for each column and row.

    Pictures are enlarged by whole factors without smoothing, so that their pixels can be seen.

    Args:
        cells: Rows of images (H, W, 1 or 3) in [-1, 1]; None leaves a cell empty.
        columns: Names above.
        rows: Names on the left.
        captions: Small print below each picture.
        title: Line above everything.
        min_cell: Cells are the smallest multiple of the largest picture that is at least this high and wide.

    Returns:
        The sheet, uint8 (H, W, 3).
    """
    from PIL import Image, ImageDraw

    pictures = [[None if x is None else _rgb(x) for x in row] for row in cells]
    sides = [picture.shape[:2] for row in pictures for picture in row if picture is not None]
    side_h, side_w = max(h for h, _ in sides), max(w for _, w in sides)
    factor = max(1, math.ceil(min_cell / max(side_h, side_w)))
    cell_h, cell_w = side_h * factor, side_w * factor
    font, small = _font(15), _font(13)
    left = _MARGIN + max((int(font.getlength(name)) for name in rows), default=0) + _MARGIN
    title_h, header_h, caption_h = (30 if title else 0), 24, (20 if captions else 0)
    width = left + len(columns) * (cell_w + _MARGIN)
    height = title_h + header_h + len(pictures) * (cell_h + caption_h + _MARGIN) + _MARGIN
    drawn = Image.new("RGB", (max(width, left + int(font.getlength(title))), height), _PAPER)
    draw = ImageDraw.Draw(drawn)
    if title:
        draw.text((_MARGIN, _MARGIN), title, _INK, font)
    for j, name in enumerate(columns):
        draw.text((left + j * (cell_w + _MARGIN) + cell_w / 2, title_h + 4), name, _INK, font, anchor="ma")
    for i, (name, row) in enumerate(zip(rows, pictures, strict=True)):
        top = title_h + header_h + i * (cell_h + caption_h + _MARGIN)
        draw.text((left - _MARGIN, top + cell_h / 2), name, _INK, font, anchor="rm")
        for j, picture in enumerate(row):
            x = left + j * (cell_w + _MARGIN)
            if picture is None:
                continue
            scale = max(1, min(cell_h // picture.shape[0], cell_w // picture.shape[1]))
            size = (picture.shape[1] * scale, picture.shape[0] * scale)
            place = (x + (cell_w - size[0]) // 2, top + (cell_h - size[1]) // 2)
            drawn.paste(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST), place)
            if captions:
                draw.text((x + cell_w / 2, top + cell_h + 3), captions[i][j], _FAINT, small, anchor="ma")
    return np.asarray(drawn)


def write_sheet(path: str | Path, sheet: np.ndarray) -> None:
    """Writes a sheet as a PNG file."""
    from reddiff_jax.pictures import to_float, write_picture

    write_picture(path, to_float(sheet))


def _rgb(x: np.ndarray) -> np.ndarray:
    x = to_uint8(x)
    return np.repeat(x, 3, axis=2) if x.shape[2] == 1 else x


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
