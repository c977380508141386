"""Runs `reddiff-jax convert`."""

import sys

from reddiff_jax.cli import app

if __name__ == "__main__":
    app(["convert", *(sys.argv[1:] or ["--help"])], prog_name="reddiff-jax")
