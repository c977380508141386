"""The error of a checkpoint that cannot be converted."""


class CheckpointError(ValueError):
    """A file that cannot be converted; the message is one line that says why and what to try."""
