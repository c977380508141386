"""Test and tuning pictures of the benchmarks; none of them is a training picture of a bundled prior."""

from pathlib import Path

import numpy as np

from reddiff_jax import pictures

HELD_OUT = {
    "astronaut": "astronaut.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "motorcycle": "motorcycle_left.png",
}


def held_out(size: int = 256) -> dict[str, np.ndarray]:
    """The five reporting pictures of the scikit-image wheel, centre crops (size, size, 3) in [-1, 1]."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return {
        name: pictures.to_float(pictures.center_crop(pictures.read_uint8(folder / file), size))
        for name, file in HELD_OUT.items()
    }


def tuning(size: int = 128) -> dict[str, np.ndarray]:
    """Three crops each of the two photos of the scikit-learn wheel: for choosing presets, never for reporting."""
    import sklearn.datasets

    cut = {}
    for name in ("china.jpg", "flower.jpg"):
        photo = sklearn.datasets.load_sample_image(name)
        half = pictures.center_crop(photo, photo.shape[0]) if photo.shape[0] < size else photo
        for i, left in enumerate(np.linspace(0, half.shape[1] - half.shape[0], 3).astype(int)):
            square = half[:, left : left + half.shape[0]]
            cut[f"{name[:-4]}{i}"] = pictures.to_float(pictures.center_crop(square, size))
    return cut
