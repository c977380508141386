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
    """Crops of the two photos of the scikit-learn wheel, reduced like the reporting pictures: for choosing settings."""
    import sklearn.datasets

    cut = {}
    for name in ("china.jpg", "flower.jpg"):
        photo = pictures.to_float(pictures.center_crop(sklearn.datasets.load_sample_image(name), 256))
        for top, left in ((32, 96), (144, 24)):
            cut[f"{name[:-4]}-{top}-{left}"] = photo[top : top + size, left : left + size]
    return cut


def head_slice(size: int = 128, fraction: float = 0.5) -> np.ndarray:
    """An axial slice of MNI152, the mean T1 picture of 152 heads in nilearn's wheel, (size, size, 1) in [-1, 1].

    Its height is a fraction of the volume's.
    """
    import importlib.util

    import nibabel

    spec = importlib.util.find_spec("nilearn")
    if spec is None or spec.origin is None:
        raise ImportError("the head slice is in nilearn's wheel: pip install nilearn")
    # Only the file is wanted: importing nilearn takes seconds.
    file = Path(spec.origin).parent / "datasets" / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    volume: np.ndarray = nibabel.load(file).get_fdata()  # type: ignore[attr-defined]  # (left to right, back to front, up)
    return axial(volume, fraction, size)


def axial(volume: np.ndarray, fraction: float, size: int) -> np.ndarray:
    """An axial slice of a head (left to right, back to front, up), (size, size, 1) in [-1, 1], nose up.

    Its height is a fraction of the volume's, and its brightest thousandth is cut.
    """
    flat = volume[:, ::-1, int(fraction * volume.shape[2])].T
    gray = np.round(255 * np.clip(flat / np.quantile(flat, 0.999), 0, 1)).astype(np.uint8)
    side = max(gray.shape)
    margins = [((side - length) // 2, side - length - (side - length) // 2) for length in gray.shape]
    return pictures.to_float(pictures.center_crop(np.pad(gray, margins)[..., None], size))
