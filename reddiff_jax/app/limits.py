"""What a visitor of the page may ask of the machine."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask of the machine.

    Args (fields):
        pixels: Of a picture.
        megabytes: Of a file.
        seconds: Of a restoration.
        samples: Of a picture.
        visitors: Restorations that wait or are under way.
    """

    pixels: int = 6_000_000
    megabytes: int = 100
    seconds: float = 3600.0
    samples: int = 16
    visitors: int = 32
