"""What a checkpoint that cannot be converted raises."""


class CheckpointError(ValueError):
    """A file that is no checkpoint, or not one that can be converted; one line that says why and what to try."""
