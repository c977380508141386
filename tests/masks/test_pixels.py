import pytest

import reddiff_jax as rd


@pytest.mark.parametrize("keep", [0.0, 0.08, 0.3, 1.0])
def test_random_mask_keeps_exactly_the_fraction(keep, key):
    assert int(rd.masks.random(key, (17, 23), keep).sum()) == round(keep * 17 * 23)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: rd.masks.random(key, (8, 8), 1.5), "keep is 1.5"),
    ],
)
def test_errors_name_the_argument_and_what_is_needed(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(key)
