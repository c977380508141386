import jax

import reddiff_jax as rd


def test_mask_key_depends_on_the_name_and_the_seed_alone():
    names = ["a.png", "b.png", "c.png"]
    keys = {name: jax.random.key_data(rd.masks.key_of(name)).tolist() for name in names}
    backwards = {name: jax.random.key_data(rd.masks.key_of(name)).tolist() for name in reversed(names[:2])}
    assert backwards == {name: keys[name] for name in names[:2]}
    assert len({*map(tuple, keys.values()), tuple(jax.random.key_data(rd.masks.key_of("a.png", 1)).tolist())}) == 4


def test_mask_key_is_the_same_on_every_machine():
    # Frozen: a change here changes the masks of every data set that was measured before.
    assert jax.random.key_data(rd.masks.key_of("ILSVRC2012_val_00000001.JPEG", 7)).tolist() == [3297337946, 2865298346]
