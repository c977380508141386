"""Numbers in the words of the command line and of the page in the browser."""

from reddiff_jax.jobs.errors import JobError

_WHITES = (1.0, 255.0, 1023.0, 4095.0, 65535.0)


def sigma_in_words(text: str) -> float:
    """A noise level for pixels in [-1, 1]: ``0.1``, or ``25/255``.

    A fraction is a level of a range: 25 gray levels of 255 are 2 * 25 / 255, as [-1, 1] has the length 2.

    Raises:
        JobError: If it is none.
    """
    level, slash, length = text.partition("/")
    try:
        numbers = float(level), float(length) if slash else 2.0
        if slash and numbers[1] not in _WHITES:
            raise ValueError
    except ValueError:
        raise JobError(
            f"sigma is {text!r} but must be a number like 0.1, or gray levels of a range like 25/255 "
            "(or of 1, 1023, 4095, 65535)."
        ) from None
    return 2 * numbers[0] / numbers[1] if slash else numbers[0]
