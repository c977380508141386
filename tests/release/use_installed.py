"""What someone does first with an installed package; run in a folder of its own by the environment's own Python."""

import subprocess
import sys
import sysconfig
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import jax
import numpy as np
from PIL import Image

import reddiff_jax as rd

HERE = Path.cwd()
INSTALLED = Path(sysconfig.get_path("purelib"))
COMMAND = Path(sysconfig.get_path("scripts")) / "reddiff-jax"


def main() -> None:
    """Imports, asks the version, restores by three steps in Python and in the shell; raises where that goes wrong."""
    assert Path(rd.__file__).is_relative_to(INSTALLED), f"{rd.__file__} is not the installed package"
    assert "torch" not in sys.modules
    said = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True).stdout
    assert version("reddiff-jax") in said, said
    assert rd.__version__ == version("reddiff-jax")

    photo = sorted(
        str(path) for path in files("reddiff_jax").joinpath("data/photos").iterdir() if str(path)[-3:] == "png"
    )
    pixels = Image.open(photo[0]).convert("RGB").resize((64, 64))
    pixels.save(HERE / "photo.png")
    seen = np.ones((64, 64), np.float32)
    seen[20:30, 20:40] = 0
    problem = rd.problem(jax.numpy.asarray(pixels, np.float32) / 127.5 - 1, rd.inpainting(seen), rd.gaussian(0.05))
    solver = rd.noise_aware(rd.load_prior(), num_steps=3)
    solution = rd.run(jax.random.key(0), solver, problem)
    assert solution.x.shape == (64, 64, 3)
    assert bool(solution.finite)

    Image.fromarray(np.uint8(255 * (1 - seen))).save(HERE / "mask.png")
    command = [COMMAND, "restore", "photo.png", "--task", "inpaint", "--mask", "mask.png", "--out", "restored"]
    subprocess.run([*command, "--steps", "3"], check=True)
    assert list((HERE / "restored").rglob("photo*.png"))


if __name__ == "__main__":
    main()
