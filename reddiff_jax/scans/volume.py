"""Volumes and series of pictures, with their units and geometry."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reddiff_jax.scans.errors import ScanError

_RANGE = (0.1, 99.9)  # percentiles of the values that become the pixels -1 and 1


@dataclass(frozen=True)
class Volume:
    """Slices of real numbers in the units of the instrument.

    Args (fields):
        values: (D, H, W) float32, in ``unit``.
        unit: "HU" of CT; empty where the file does not say it.
        spacing: Of slices, rows and columns, in mm; None if unknown.
        window: Lowest and highest value that a viewer shows, if the file says it.
        like: What the writer of the same format needs.
    """

    values: np.ndarray
    unit: str = ""
    spacing: tuple[float, float, float] | None = None
    window: tuple[float, float] | None = None
    like: Any = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in "biuf":
            raise ScanError(
                f"an array {values.dtype}{list(values.shape)} came but a volume is real, (slices, H, W). Of a series "
                "in time or in colour take one time, one channel."
            )
        if not np.isfinite(values).all():
            raise ScanError(f"{np.sum(~np.isfinite(values))} of the {values.size} values are not finite.")
        object.__setattr__(self, "values", values.astype(np.float32))

    def limits(self) -> tuple[float, float]:
        """Values that become the pixels -1 and 1: the whole volume's, so that slices keep their brightness."""
        low, high = (float(each) for each in np.percentile(self.values, _RANGE))
        if not high > low:
            raise ScanError(f"all values of the volume are about {low:.4g}: it shows nothing.")
        return low, high

    def pixels(self, limits: tuple[float, float]) -> np.ndarray:
        """(D, H, W, 1) float32, with the limits at -1 and 1; what is beyond them stays beyond."""
        low, high = limits
        return ((self.values - low) / (high - low) * 2 - 1)[..., None].astype(np.float32)

    def of_pixels(self, pixels: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
        """(D, H, W) float32 in ``unit``, the inverse of ``pixels``."""
        low, high = limits
        return ((np.asarray(pixels)[..., 0] + 1) / 2 * (high - low) + low).astype(np.float32)
