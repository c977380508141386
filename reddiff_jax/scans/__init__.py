"""Scans as instruments write them: sinograms, with their conventions and units."""

from reddiff_jax.scans.errors import ScanError as ScanError
from reddiff_jax.scans.rotation import find_center as find_center
from reddiff_jax.scans.sinogram import Sinogram as Sinogram
from reddiff_jax.scans.sinogram import from_astra as from_astra
from reddiff_jax.scans.sinogram import from_scikit_image as from_scikit_image
from reddiff_jax.scans.sinogram import from_tomopy as from_tomopy
from reddiff_jax.scans.transmission import line_integrals as line_integrals
from reddiff_jax.scans.transmission import remove_rings as remove_rings
