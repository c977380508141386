"""What the tests of the command line read."""

import json
from pathlib import Path

import numpy as np

from reddiff_jax import pictures


def pixels(path: Path) -> np.ndarray:
    return pictures.read_uint8(path).astype(int)


def entries(out: Path) -> dict:
    lines = []
    for line in (out / "manifest.jsonl").read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return {line["name"]: line for line in lines}
