"""The error of a checkpoint that cannot be converted."""

from reddiff_jax._text import shown


class CheckpointError(ValueError):
    """A file that cannot be converted; the message is one line that says why and what to try.

    Names and values of the file are in it: what a terminal would obey is escaped.
    """

    def __init__(self, message: str):
        super().__init__(shown(message, limit=5000))
