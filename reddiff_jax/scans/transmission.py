"""From what a detector of X-rays counts to line integrals of the attenuation."""

import numpy as np
from jaxtyping import Float

from reddiff_jax.scans.errors import ScanError

_LEAST = 1e-4  # transmission: less than one photon in 10,000 says nothing but that there were few


def line_integrals(
    counts: Float[np.ndarray, "*S A D"],
    flat: Float[np.ndarray, "*N D"],
    dark: Float[np.ndarray, "*N D"] | float = 0.0,
    *,
    least: float = _LEAST,
) -> Float[np.ndarray, "*S A D"]:
    """Line integrals ``P = -log((counts - dark) / (flat - dark))`` of the attenuation, by the law of Beer and Lambert.

    The noise of P is about ``1 / sqrt(counts)``; ``rd.noise.poisson_attenuation`` is for low counts. Elements whose
    flat field does not exceed the dark one are dead: their counts are interpolated from their neighbours'.

    Args:
        counts: What was measured behind the object: angles and detector elements last.
        flat: The same without the object, one row of it or several, whose mean is taken.
        dark: The same without X-rays.
        least: Transmissions below this are taken for it.

    Raises:
        ScanError: If the numbers of detector elements differ, or more than a tenth of them is dead.
    """
    counts = np.asarray(counts, np.float64)
    size = counts.shape[-1]
    flat, dark = (_mean_row(name, field, size) for name, field in (("flat", flat), ("dark", dark)))
    beam = flat - dark
    dead = ~(beam > 0)
    if dead.mean() > 0.1:
        raise ScanError(
            f"the flat field does not exceed the dark one in {dead.sum()} of {size} detector elements. Are they "
            "exchanged? The order is line_integrals(counts, flat, dark)."
        )
    through = np.maximum((counts - dark) / np.where(dead, 1.0, beam), least)
    integrals = -np.log(through)
    if dead.any():
        places = np.arange(size)
        flattened = integrals.reshape(-1, size)
        for row in flattened:
            row[dead] = np.interp(places[dead], places[~dead], row[~dead])
        integrals = flattened.reshape(integrals.shape)
    return integrals.astype(np.float32)


def remove_rings(values: Float[np.ndarray, "A D"], width: int = 9) -> Float[np.ndarray, "A D"]:
    """Line integrals without the stripes of detector elements that are too sensitive, or not enough: no rings.

    Each element's values are sorted over the views, which makes a stripe a step between neighbours; a median over
    ``width`` neighbours takes it out, and the values go back to their views.

    Args:
        values: Line integrals of one slice.
        width: Detector elements of the median; wider than the stripes.

    Source:
        Vo, Atwood and Drakopoulos 2018, "Superior techniques for eliminating ring artifacts in X-ray
        micro-tomography", algorithm 3.
    """
    from scipy.ndimage import median_filter  # a sixth of a second to import

    order = np.argsort(values, axis=0, kind="stable")
    ascending = np.take_along_axis(values, order, axis=0)
    smoothed = median_filter(ascending, size=(1, width), mode="nearest")
    without = np.empty_like(smoothed)
    np.put_along_axis(without, order, smoothed, axis=0)
    return without


def _mean_row(name: str, field: np.ndarray | float, size: int) -> np.ndarray:
    field = np.asarray(field, np.float64)
    if field.ndim == 0:
        return np.full(size, float(field))
    if field.shape[-1] != size:
        raise ScanError(
            f"{name} has shape {field.shape} but the counts have {size} detector elements: they are the last axis of "
            "both."
        )
    return field.reshape(-1, size).mean(axis=0)
