# %% [markdown]
# # A folder, interrupted and resumed
#
# Six small photos are enlarged by the command line, which is stopped half-way and started
# again; it does only what is missing, and the result is what an undisturbed run gives.

# %%
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt

import reddiff_jax as rd
from reddiff_jax import jobs

# %% [markdown]
# The folder: the bundled photos, made 4 x smaller.

# %%
folder = Path(tempfile.mkdtemp())
small, restored = folder / "small", folder / "restored"
small.mkdir()
shrink = rd.bicubic((160, 160, 3), 4)
photos = {path.stem: rd.read_picture(path)[32:192, 48:208] for path in jobs.sample_photos()}
for name, photo in photos.items():
    rd.write_picture(small / f"{name}.png", shrink(photo))  # 40 x 40

# %% [markdown]
# In a shell this is
#
# ```sh
# reddiff-jax restore small --task bicubic4 --sigma 0 --steps 10 --batch-size 1 --out restored
# ```
#
# `manifest.jsonl` gets a line for whatever happens to a picture. We stop the command when two
# pictures are restored.

# %%
program = [sys.executable, "-c", "from reddiff_jax.cli import main; main()"]
options = ["--task", "bicubic4", "--sigma", "0", "--steps", "10", "--batch-size", "1"]
command = [*program, "restore", str(small), *options, "--out", str(restored)]
manifest = restored / "manifest.jsonl"


def done():
    lines = manifest.read_text().split("\n")[:-1] if manifest.exists() else []
    return {line["name"] for line in map(json.loads, lines) if line["status"] == "restored"}


process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while len(done()) < 2 and process.poll() is None:
    time.sleep(0.05)
process.terminate()
process.wait()
first = done()

# %% [markdown]
# The same command again continues. What is there is left alone.

# %%
before = {name: (restored / f"{name}.png").stat().st_mtime_ns for name in first}
subprocess.run(command, check=True, capture_output=True)
untouched = {name: (restored / f"{name}.png").stat().st_mtime_ns for name in first}
num_first, num_all = len(first), len(done())
assert untouched == before

# %%
finished = {name: rd.read_picture(restored / f"{name}.png") for name in photos}
psnr = {name: rd.metrics.psnr(finished[name], photo) for name, photo in photos.items()}
before_and_after = {
    "low resolution": [rd.read_picture(small / f"{name}.png") for name in photos],
    "restored": finished.values(),
}
titles = [
    f"{'first run' if name in first else 'resumed'}, {psnr[name]:.1f} dB" for name in photos
]
rd.plot.rows(before_and_after, titles=titles)
plt.show()
