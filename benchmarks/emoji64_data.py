"""Collects the pictures of the prior `emoji64` from npm into OUT/training and OUT/held_out.

    python -m benchmarks.emoji64_data OUT

Needs npm. Pictures are 64 x 64 on white, named CODEPOINT_VENDOR.png, without skin tones. A codepoint is held out of all
vendors' sets where its SHA-256 is a multiple of 20: otherwise one vendor's drawing would give away another's. Variants
of one drawing (woman, man and person of a profession) have codepoints of their own and may fall on both sides.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

SIZE = 64
SKIN_TONE = re.compile(r"1f3f[b-f]")


@dataclass(frozen=True)
class Source:
    """One vendor's drawings in an npm package."""

    vendor: str
    package: str
    pattern: str  # of the files in it
    credit: str


SOURCES = (
    Source(
        "google",
        "emoji-datasource-google@16.0.0",
        "package/img/google/64/*.png",
        "Noto Emoji, Google; Apache-2.0 (https://github.com/googlefonts/noto-emoji)",
    ),
    Source(
        "twitter",
        "emoji-datasource-twitter@16.0.0",
        "package/img/twitter/64/*.png",
        "Twemoji, Twitter, Inc. and other contributors; CC-BY-4.0 (https://creativecommons.org/licenses/by/4.0/); "
        "laid on white (https://github.com/jdecked/twemoji)",
    ),
    Source(
        "fluent",
        "@lobehub/fluent-emoji-3d@1.1.0",
        "package/assets/*.webp",
        "Fluent Emoji, Microsoft Corporation; MIT; laid on white and reduced "
        "(https://github.com/microsoft/fluentui-emoji, packed by LobeHub)",
    ),
)


def collect(out: Path) -> dict[str, int]:
    """Fills ``out``; returns the number of pictures of each part of it.

    Raises:
        FileNotFoundError: If there is no npm.
    """
    if shutil.which("npm") is None:
        raise FileNotFoundError("npm was not found: the emoji come from npm packages. Install it (Debian: npm).")
    for part in ("training", "held_out"):
        (out / part).mkdir(parents=True, exist_ok=True)
    credit = [f"- `*_{source.vendor}.png`: {source.package} (npm). {source.credit}" for source in SOURCES]
    (out / "CREDITS.md").write_text("\n".join(credit) + "\n")
    with tempfile.TemporaryDirectory() as scratch:
        for source in SOURCES:
            _unpack(_download(source.package, Path(scratch)), source, out)
    return {part: len(list((out / part).glob("*.png"))) for part in ("training", "held_out")}


def codepoint(stem: str) -> str:
    """Name of a drawing that all vendors agree on: no variation selector, no leading zeros."""
    parts = re.split("[-_]", stem.lower())
    return "-".join(part.lstrip("0") for part in parts if part != "fe0f")


def is_held_out(codepoint: str) -> bool:
    """Whether no picture of this codepoint is a training picture."""
    return int(hashlib.sha256(codepoint.encode()).hexdigest(), 16) % 20 == 0


def _download(package: str, folder: Path) -> Path:
    done = subprocess.run(
        ["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return folder / done.stdout.split()[-1]


def _unpack(archive: Path, source: Source, out: Path) -> None:
    done = set()
    with tarfile.open(archive) as files:
        # Sorted, because a codepoint may be there twice under two spellings, of which the first is taken.
        for member in sorted(files.getmembers(), key=lambda member: member.name):
            path = PurePosixPath(member.name)
            name = codepoint(path.stem)
            if not path.match(source.pattern) or SKIN_TONE.search(path.stem) or name in done:
                continue
            done.add(name)
            part = "held_out" if is_held_out(name) else "training"
            _on_white(Image.open(files.extractfile(member))).save(out / part / f"{name}_{source.vendor}.png")  # type: ignore[arg-type]


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to fill")
    print(", ".join(f"{count} {part}" for part, count in collect(parser.parse_args().out).items()))
