"""Restoring scans, volumes and clips, slice by slice or with slices coupled, in the format that came in."""

from reddiff_jax.jobs.scanning.options import AUTO as AUTO
from reddiff_jax.jobs.scanning.options import TASKS as TASKS
from reddiff_jax.jobs.scanning.options import Layout as Layout
from reddiff_jax.jobs.scanning.options import ScanOptions as ScanOptions
from reddiff_jax.jobs.scanning.restoring import restore_scans as restore_scans
