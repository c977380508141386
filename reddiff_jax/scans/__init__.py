"""Scans as instruments write them, with their units and geometry: sinograms, k-space, volumes."""

from reddiff_jax.scans.calibration import calibration_region as calibration_region
from reddiff_jax.scans.calibration import espirit as espirit
from reddiff_jax.scans.calibration import phase_factors as phase_factors
from reddiff_jax.scans.coils import noise_level as noise_level
from reddiff_jax.scans.coils import prewhitened as prewhitened
from reddiff_jax.scans.coils import root_sum_of_squares as root_sum_of_squares
from reddiff_jax.scans.coils import sense as sense
from reddiff_jax.scans.errors import ScanError as ScanError
from reddiff_jax.scans.files import read_kspace as read_kspace
from reddiff_jax.scans.files import read_projections as read_projections
from reddiff_jax.scans.files import read_volume as read_volume
from reddiff_jax.scans.files import write_like as write_like
from reddiff_jax.scans.kspace import KSpace as KSpace
from reddiff_jax.scans.kspace import kspace_of_array as kspace_of_array
from reddiff_jax.scans.mri import MriSlice as MriSlice
from reddiff_jax.scans.mri import pose_mri as pose_mri
from reddiff_jax.scans.mri import white_of as white_of
from reddiff_jax.scans.rotation import find_center as find_center
from reddiff_jax.scans.sinogram import Sinogram as Sinogram
from reddiff_jax.scans.sinogram import from_astra as from_astra
from reddiff_jax.scans.sinogram import from_scikit_image as from_scikit_image
from reddiff_jax.scans.sinogram import from_tomopy as from_tomopy
from reddiff_jax.scans.transmission import line_integrals as line_integrals
from reddiff_jax.scans.transmission import remove_rings as remove_rings
from reddiff_jax.scans.volume import Volume as Volume
