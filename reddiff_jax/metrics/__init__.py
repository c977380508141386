"""Metrics of a restored image against its original: PSNR, SSIM, LPIPS, each for one image ``(H, W, C)``."""

from reddiff_jax.metrics.distortion import psnr as psnr
from reddiff_jax.metrics.distortion import ssim as ssim
from reddiff_jax.metrics.lpips import Lpips as Lpips
from reddiff_jax.metrics.lpips import load_lpips as load_lpips
