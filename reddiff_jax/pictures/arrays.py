"""Arrays of pixels: their range, their channels, their size."""

import numpy as np

ROUNDING_SIGMA = 0.0023  # standard deviation of rounding to 8 bits, 2 / 255 / sqrt(12), of pixels in [-1, 1]


def to_float(array: np.ndarray) -> np.ndarray:
    """uint8 pixels to float32 in [-1, 1]."""
    return array.astype(np.float32) / 127.5 - 1.0


def to_uint8(x: np.ndarray) -> np.ndarray:
    """Pixels in [-1, 1] to uint8, cut to the range and rounded."""
    return np.round((np.clip(np.asarray(x, np.float32), -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def to_channels(values: np.ndarray, channels: int) -> np.ndarray:
    """Pixels (H, W, 1 or 3) with 1 or 3 channels: gray three times, or the luma of ITU-R BT.601."""
    if values.shape[2] == channels:
        return values
    if channels == 3:
        return np.repeat(values, 3, axis=2)
    if values.dtype == np.uint8:
        # The sum in whole numbers is exactly Pillow's.
        red, green, blue = np.moveaxis(values.astype(np.uint32), 2, 0)
        return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)[:, :, None]
    return (values @ np.array([0.299, 0.587, 0.114], np.float32))[:, :, None].astype(np.float32)


def over_white(values: np.ndarray, alpha: np.ndarray, white: float) -> np.ndarray:
    """Pixels (H, W, 1 or 3) of a picture with alpha (H, W, 1) in [0, 1], laid over white."""
    if values.dtype != np.uint8:
        return values * alpha + white * (1 - alpha)
    from PIL import Image

    layers = np.concatenate([to_channels(values, 3), np.round(alpha * 255).astype(np.uint8)], axis=2)
    image = Image.fromarray(layers)
    composed = np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image))
    return composed[:, :, : values.shape[2]]


def center_crop(array: np.ndarray, size: int) -> np.ndarray:
    """Centre square of the picture, reduced by an antialiased filter to size x size pixels.

    Args:
        array: (H, W, 1 or 3), uint8 or float32; the result is of the same kind.
        size: Side of the result, at most the picture's shorter side.
    """
    side = min(array.shape[:2])
    if side < size:
        raise ValueError(f"a picture of {array.shape[1]} x {array.shape[0]} pixels has no {size} x {size} crop.")
    top, left = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
    return resize(array[top : top + side, left : left + side], (size, size))


def resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W, C), uint8 or float32, at another (height, width), by Lanczos' antialiased filter."""
    from PIL import Image

    (height, width), lanczos = size, Image.Resampling.LANCZOS
    if array.dtype == np.uint8:
        image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
        return np.asarray(image.resize((width, height), lanczos)).reshape(height, width, array.shape[-1])
    planes = [Image.fromarray(np.ascontiguousarray(plane, np.float32)) for plane in np.moveaxis(array, -1, 0)]
    return np.stack([np.asarray(plane.resize((width, height), lanczos)) for plane in planes], axis=-1)


def shrink(x: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W, 1 or 3) in [-1, 1], reduced until its longer side has at most ``side`` pixels."""
    from PIL import Image

    factor = side / max(x.shape[:2])
    if factor >= 1:
        return x
    width, height = (max(1, round(factor * length)) for length in (x.shape[1], x.shape[0]))
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BOX))
        for plane in np.moveaxis(np.asarray(x, np.float32), -1, 0)
    ]
    return np.stack(planes, axis=-1)
