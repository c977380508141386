"""Clips: films of any format that FFmpeg reads, through PyAV, which the extra `video` installs."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax._files import kind_of
from reddiff_jax.scans._libraries import library, reading
from reddiff_jax.scans.errors import ScanError

SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm")
"""Of clips."""

_MOST_BYTES = 2**32  # of all frames as float32
_QUALITY = {"libx264": {"crf": "12", "threads": "1"}, "libvpx-vp9": {"crf": "15", "b": "0", "threads": "1"}}


@dataclass(frozen=True)
class Clip:
    """Frames in time.

    Args (fields):
        values: (T, H, W, 3) float32 in [-1, 1]; (T, H, W, 1) of a gray clip.
        rate: Frames a second.
    """

    values: np.ndarray
    rate: Fraction

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.ndim != 4 or 0 in values.shape or values.shape[3] not in (1, 3):
            raise ScanError(f"an array of shape {values.shape} came but a clip is (frames, H, W, 1 or 3).")


def read_clip(path: str | Path) -> Clip:
    """Reads all frames of a film, upright, without its sound.

    Raises:
        ScanError: In one line, if it holds none, or more than fits.
    """
    path = Path(path)
    if kind := kind_of(path):
        said = "does not exist; check the name" if kind == "missing" else f"is {kind}, not a clip"
        raise ScanError(f"{path} {said}.")
    av: Any = library("av", "clips", extra="video")
    frames: list[np.ndarray] = []
    with reading(path, "a clip"), av.open(str(path)) as container:
        if not container.streams.video:
            raise ScanError("it holds no pictures.")
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            array = np.rot90(frame.to_ndarray(format="rgb24"), (getattr(frame, "rotation", 0) or 0) // 90)
            if 4 * array.size * (len(frames) + 1) > _MOST_BYTES:
                raise ScanError(
                    f"it has more than {len(frames)} frames of {array.shape[1]} x {array.shape[0]}, too many to be "
                    "held at once; cut it."
                )
            frames.append(array)
        rate = Fraction(stream.average_rate or 25)
        if not frames:
            raise ScanError("it holds no frames.")
    stack = np.stack(frames)
    if (stack == stack[..., :1]).all():
        stack = stack[..., :1]
    return Clip((stack / 127.5 - 1).astype(np.float32), rate)


def write_clip(path: str | Path, clip: Clip) -> None:
    """Writes a film in the format of the suffix: H.264 at a high quality, VP9 for .webm.

    Raises:
        ScanError: If the suffix is none of a clip.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ScanError(f"{path}: clips are written as {', '.join(SUFFIXES)}.")
    av: Any = library("av", "clips", extra="video")
    levels = np.clip(np.round((clip.values + 1) * 127.5), 0, 255).astype(np.uint8)
    levels = np.broadcast_to(levels, (*levels.shape[:3], 3))
    codec = "libvpx-vp9" if path.suffix.lower() == ".webm" else "libx264"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=clip.rate, options=_QUALITY[codec])
        stream.height, stream.width = levels.shape[1:3]
        odd = stream.height % 2 or stream.width % 2
        stream.pix_fmt = "yuv444p" if odd else "yuv420p"  # colours at half the size need even sides
        for frame in levels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))
