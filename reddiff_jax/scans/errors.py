"""What is wrong with a scan, in one line."""


class ScanError(ValueError):
    """A scan or a file of one that cannot be used; the message is one line that says what to do."""
