"""What a reader of pictures says of a file that it refuses."""

import pytest

from reddiff_jax import pictures


def refusal(path, **options) -> str:
    """The error's one line."""
    with pytest.raises(pictures.PictureError) as caught:
        pictures.read(path, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)
