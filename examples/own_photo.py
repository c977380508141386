# %% [markdown]
# # Scratches on a photo
#
# A photo has scratches and a mask says where; one call fills them in. It takes a file or a
# PIL image and gives back the same kind, as the command line does.

# %%
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

import reddiff_jax as rd
from reddiff_jax import jobs

# %% [markdown]
# For your photo, paint the mask in any drawing program: black on white, the size of the
# photo. Here we draw scratches ourselves, on the photo and on the mask.

# %%
photo = Image.open(jobs.sample_photos()[1]).crop((40, 30, 168, 158))  # 128 x 128
scratched, mask = photo.copy(), Image.new("L", photo.size, "white")
random = np.random.default_rng(3)
for _ in range(6):
    line = [tuple(point) for point in random.uniform(0, 128, (2, 2))]
    ImageDraw.Draw(scratched).line(line, fill="white", width=2)
    ImageDraw.Draw(mask).line(line, fill="black", width=2)

# %% [markdown]
# The same in a shell:
#
# ```sh
# reddiff-jax restore scratched.png --task inpaint --mask mask.png --out restored
# ```

# %%
restored = rd.restore(scratched, task="inpaint", mask=mask)

# %%
arrays = [
    np.asarray(picture, np.float32) / 127.5 - 1 for picture in (photo, scratched, restored)
]
psnr_scratched = rd.metrics.psnr(arrays[1], arrays[0])
psnr_restored = rd.metrics.psnr(arrays[2], arrays[0])

pictures = {
    f"scratched, {psnr_scratched:.1f} dB": scratched,
    "mask": mask,
    f"restored, {psnr_restored:.1f} dB": restored,
}
rd.plot.panel(pictures)
plt.show()
