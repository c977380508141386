"""What an operator measures, by its type and a mask's numbers."""

import jax
import jax.numpy as jnp
import pytest
from posed_tasks import BUILDABLE, posed

import reddiff_jax as rd
from reddiff_jax import tasks
from reddiff_jax.settings import TUNED, Kind, kind_of

SHAPE = (16, 16, 3)
SCATTERED = {"inpaint_random", "inp_random", "in2_random"}
MASKS = [name for name, task in tasks.TASKS.items() if task.needs == "mask" and task.draw and name[:3] != "in2"]


def test_every_task_is_of_a_kind_and_every_kind_has_a_task():
    kinds = {name: kind_of(posed(name).operator) for name in BUILDABLE}
    assert set(kinds.values()) == set(Kind) == TUNED["reddiff"].keys()
    assert {name for name, kind in kinds.items() if kind == Kind.INPAINT_PIXELS} == SCATTERED


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 64, pytest.param(256, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", MASKS)
def test_the_masks_of_the_tasks_are_told_apart(name, size):
    for seed in range(4):
        shape = (size, size, 3)
        operator = tasks.by_name(name).operator(shape, tasks.by_name(name).simulate(jax.random.key(seed), shape))
        assert operator.scattered is (name in SCATTERED), seed


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        (rd.parallel_ct((16, 16, 1), rd.view_angles(8)) @ rd.colorization(SHAPE), Kind.CT),
        (rd.operators.crop(SHAPE, 2) @ rd.gaussian_blur(SHAPE, size=5), Kind.DEBLUR),
        (rd.super_resolution(SHAPE, 2) @ rd.gaussian_blur(SHAPE, size=5), Kind.SUPER_RESOLUTION),
        (2.0 * rd.denoising(SHAPE), Kind.DENOISE),
        (3.0 * rd.hdr(SHAPE), Kind.HDR),
        (rd.on_channels(rd.denoising((16, 16, 1)), 0, SHAPE), Kind.DENOISE),
        (rd.operators.crop(SHAPE, 2), None),
        (rd.operator(jnp.tanh, SHAPE), None),
        (rd.linear_operator(lambda x: x[::2], SHAPE), None),
        (rd.stacked(rd.denoising(SHAPE), rd.super_resolution(SHAPE, 2)), None),
    ],
)
def test_operators_made_of_operators_are_of_the_kind_of_what_measures(operator, kind):
    assert kind_of(operator) is kind
