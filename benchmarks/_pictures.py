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


def tuning(size: int = 64) -> dict[str, np.ndarray]:
    """Crops of the two photos of the scikit-learn wheel, reduced like the reporting pictures: for choosing presets."""
    import sklearn.datasets

    cut = {}
    for name in ("china.jpg", "flower.jpg"):
        photo = pictures.to_float(pictures.center_crop(sklearn.datasets.load_sample_image(name), 256))
        for top, left in ((32, 96), (144, 24)):
            cut[f"{name[:-4]}-{top}-{left}"] = photo[top : top + size, left : left + size]
    return cut
