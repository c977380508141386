"""What a reader of a page has at hand: small stand-ins for pictures, measurements and trained networks."""

import importlib.util
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import scan_files

import reddiff_jax as rd
from reddiff_jax import pictures

SHAPE = (16, 16, 3)
_SCHEDULE = rd.schedules.linear()


def _prediction(x_t, t, cond):
    """The noise prediction of a prior N(0, 1/4), for images of any shape and with or without a condition."""
    alpha_t, sigma_t = _SCHEDULE(t)
    return sigma_t * x_t / (0.25 * alpha_t**2 + sigma_t**2)


PRIOR = rd.prior(_prediction, _SCHEDULE)


def variables() -> dict:
    """Names that pages take as given."""
    key = jax.random.key(0)
    x = jax.random.uniform(key, SHAPE, minval=-0.8, maxval=0.8)
    mask = rd.masks.random(key, SHAPE[:2])
    problem = rd.measure(key, rd.inpainting(mask), rd.gaussian(0.05), x)
    return {"x": x, "photo": x, "mask": mask, "y": problem.y, "problem": problem}


def _slices(channels: int) -> dict:
    return {"slice_": variables()["x"][..., :channels]}


def _volume() -> dict:
    return {"volume": jnp.moveaxis(variables()["x"][..., :2], 2, 0)[..., None]}


def _logits(x_t, t):
    return jnp.mean(x_t) * jnp.arange(3.0)


def _conditions() -> dict:
    return {"prior": PRIOR, "conditional": PRIOR, "classifier": _logits}


EXTRA = {
    "docs/guides/mri.md": lambda: _slices(2),
    "docs/guides/ct.md": lambda: _slices(1),
    "docs/guides/volumes.md": _volume,
    "docs/guides/tuning.md": lambda: {"photos": np.asarray(variables()["x"])[None]},
    "docs/theory/conditioning.md": _conditions,
}
"""What a page has beside ``variables``."""

# Long runs and large batches, made small: (in the page, in the test). Each must be there.
SMALLER = {
    "docs/guides/solvers.md": [
        ("64, 64, 3", "16, 16, 3"),
        ("num_steps=100", "num_steps=4"),
        ("problem, 8)", "problem, 2)"),
    ],
    "docs/guides/samples.md": [
        ("problem, 8)", "problem, 2)"),
        ("rd.gaussian(0.1), 64)", "rd.gaussian(0.1), 4)"),
        ("num_steps=1000", "num_steps=20"),
    ],
    "docs/guides/noise.md": [("num_steps=100", "num_steps=4")],
    "docs/start/colab.md": [("(64, 64, 3)", "(16, 16, 3)")],
}


def files(folder) -> None:
    """The files that pages read."""
    _scans(folder)
    pictures.write_picture(folder / "photo.png", np.asarray(variables()["x"]))


def _scans(folder) -> None:
    """Those that need no library of the extras `science` and `video`, and where they are installed the others."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:16, :16] - 8
    disc = (np.hypot(rows, columns) < 5).astype(np.float32)
    operator = rd.parallel_ct((16, 16, 1), rd.view_angles(30), num_detectors=16, scale=0.05)
    np.save(folder / "counts.npy", rng.poisson(1e4 * np.exp(-np.asarray(operator(disc[..., None])))[:, :, 0]))
    np.save(folder / "flat.npy", np.full((2, 16), 1e4))
    if importlib.util.find_spec("h5py") is not None:
        maps = np.asarray(rd.coil_maps(4, (16, 16)))
        kspace = np.asarray(rd.mri(np.ones((16, 16)), (16, 16, 1), coil_maps=maps)(disc[..., None]))
        scan_files.write_fastmri(folder / "scan.h5", 1e-5 * kspace[None])
    if importlib.util.find_spec("av") is not None:
        frames = rng.uniform(-0.5, 0.5, (3, 16, 16, 3)).astype(np.float32)
        rd.scans.write_clip(folder / "clip.mp4", rd.scans.Clip(frames, Fraction(25)))
    if importlib.util.find_spec("nibabel") is not None:
        import nibabel

        nibabel.save(
            nibabel.Nifti1Image(rng.normal(size=(6, 5, 4)).astype(np.float32), np.eye(4)), folder / "head.nii.gz"
        )
