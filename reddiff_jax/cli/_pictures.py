"""Options about picture files and masks, and what their words mean."""

from typing import TYPE_CHECKING, Annotated

import typer

from reddiff_jax.cli._errors import UserError
from reddiff_jax.cli._names import HOLES

if TYPE_CHECKING:
    from reddiff_jax.masks import Hole

HoleOption = Annotated[
    str,
    typer.Option(
        "--hole",
        metavar="[auto|black|white|transparent|paint]",
        help="What marks the hole in the mask; paint is any colour on a transparent layer, auto the smaller share.",
    ),
]
GrowOption = Annotated[
    int | None,
    typer.Option(
        "--grow",
        help="Pixels by which the mask's holes are grown.",
        show_default="1 for painted masks, 0 for arrays and single pixels",
    ),
]
WhiteOption = Annotated[
    float | None,
    typer.Option(
        "--white",
        help="The number that is white in pictures of more than 8 bits: 1.0 for many floating-point pictures, 4095 for "
        "12 bits in 16.",
        show_default="what the file says",
    ),
]
PageOption = Annotated[
    int | None,
    typer.Option("--page", help="Which page of files with several, from 1.", show_default="such files are refused"),
]
BitsOption = Annotated[
    str | None,
    typer.Option("--bits", metavar="[8|16|float]", help="Of the results.", show_default="those of the input"),
]


def check_hole(text: str) -> None:
    """Raises UserError for what marks no hole."""
    if text not in HOLES:
        raise UserError(f"--hole is {text!r} but must be one of {', '.join(HOLES)}.")


def parse_hole(text: str) -> "Hole":
    """The hole's mark of a name."""
    check_hole(text)
    from reddiff_jax.masks import Hole

    return Hole(text)


def parse_bits(text: str | None) -> int | None:
    """Bits as ``write_picture`` takes them."""
    known = {None: None, "8": 8, "16": 16, "float": 32}
    if text not in known:
        raise UserError(f"--bits is {text!r} but must be 8, 16 or float.")
    return known[text]
