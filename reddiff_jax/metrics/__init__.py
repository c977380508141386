"""Metrics of a restored image against its original: PSNR, SSIM, LPIPS, each for one image ``(H, W, C)``."""

from reddiff_jax.metrics.distortion import psnr as psnr
from reddiff_jax.metrics.distortion import ssim as ssim
from reddiff_jax.metrics.fastmri import nmse as nmse
from reddiff_jax.metrics.fastmri import volume_psnr as volume_psnr
from reddiff_jax.metrics.fastmri import volume_ssim as volume_ssim
from reddiff_jax.metrics.lpips import Lpips as Lpips
from reddiff_jax.metrics.lpips import load_lpips as load_lpips
