"""The noise level that a user gives."""

import math


def check_sigma(sigma: float, *, of_picture: bool = False) -> float:
    """Returns a noise level, or raises ValueError if it is none.

    Args:
        sigma: The standard deviation, for pixels in [-1, 1].
        of_picture: Whether a picture is measured; there more than the range of its pixels is a mistake.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma is {sigma} but must be a finite number of at least 0 (pixels are in [-1, 1]).")
    if of_picture and sigma > 2:
        raise ValueError(
            f"sigma is {sigma:g} but pixels are in [-1, 1], where noise has at most 2: for {sigma:g} gray levels of "
            f"255 give {2 * sigma / 255:.3g} (--sigma {sigma:g}/255)."
        )
    return float(sigma)
