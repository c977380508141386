"""What is said of a step, and the bar."""

import jax.numpy as jnp
import numpy as np

from reddiff_jax.progress import ProgressBar, describe_step, scalars_of

INFO = {"t": jnp.arange(3), "residual": jnp.asarray([0.3, 0.2, 0.1]), "particles": jnp.zeros((3, 4))}


def test_scalars_are_what_an_info_says_in_one_number_a_step():
    assert scalars_of(INFO).keys() == {"t", "residual"}


def test_scalars_of_a_batch_have_its_axis():
    batch = {name: jnp.stack([leaf, leaf]) for name, leaf in INFO.items()}
    assert {name: leaf.shape for name, leaf in scalars_of(batch, 1).items()} == {"t": (2, 3), "residual": (2, 3)}


def test_of_a_step_the_last_scalars_are_said_as_means_of_the_batch():
    said = describe_step(4, 10, {"t": np.zeros((2, 3)), "prior_gradient": np.asarray([[9.0, 1.0], [9.0, 2.0]])})
    assert said == "step 4/10, prior gradient 1.5"


def test_a_bar_says_what_it_is_told(capsys):
    with ProgressBar(10) as update:
        update(10, "the end")
    said = capsys.readouterr().out
    assert said.startswith("restoring: 100 %")
    assert said.endswith(": the end\n")


def test_a_bar_that_is_not_shown_says_nothing(capsys):
    with ProgressBar(10, shown=False) as update:
        update(10, "the end")
    assert capsys.readouterr().out == ""
