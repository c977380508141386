"""Published architectures: parameters, tensors and multiply-adds, without a weight."""

import inspect

import jax
import jax.numpy as jnp
import pytest

from reddiff_jax.nets import UNet, configs, multiply_adds, parameter_count, parameter_shapes, tensor_count

# Parameters and tensors of the published files; the upsamplers' tensors follow from the rules of the others.
PUBLISHED = {
    "imagenet256_uncond": (552_814_086, 566),
    "imagenet256": (553_838_086, 567),
    "imagenet512": (558_997_638, 645),
    "imagenet128": (421_529_606, 493),
    "imagenet64": (295_904_454, 541),
    "lsun": (552_814_086, 566),
    "ffhq256": (93_563_910, 362),
    "upsampler_64_256": (311_795_910, 567),
    "upsampler_128_512": (308_835_270, 537),
}
# Millions of parameters, tensors, billions of multiply-adds.
PUBLISHED_CLASSIFIERS = {
    "classifier64": (65.4, 307, 19.1),
    "classifier128": (42.6, 221, 21.0),
    "classifier256": (54.1, 249, 73.3),
    "classifier512": (54.4, 281, 112.8),
}
# Image size and billions of multiply-adds.
PUBLISHED_COST = {
    "imagenet256_uncond": (256, 1119.8),
    "imagenet512": (512, 1982.3),
    "imagenet128": (128, 306.9),
    "imagenet64": (64, 109.7),
    "ffhq256": (256, 194.0),
}


def sizes(net) -> tuple[int, int]:
    """Parameters and tensors, of one trace."""
    leaves = jax.tree.leaves(parameter_shapes(net))
    return sum(leaf.size for leaf in leaves), len(leaves)


def _names(published: dict) -> pytest.MarkDecorator:
    """Names of configurations; all but two are tested among the slow tests."""
    quick = ("imagenet64", "classifier64")
    marked = [pytest.param(name, marks=[] if name in quick else [pytest.mark.slow]) for name in published]
    return pytest.mark.parametrize("name", marked)


@_names(PUBLISHED)
def test_unet_has_the_published_parameters_and_tensors(name):
    assert sizes(getattr(configs, name)()) == PUBLISHED[name]


@_names(PUBLISHED_CLASSIFIERS)
@pytest.mark.slow
def test_classifier_has_the_published_size(name):
    net = getattr(configs, name)()
    parameters, tensors, cost = PUBLISHED_CLASSIFIERS[name]
    count, num_tensors = sizes(net)
    assert (round(count / 1e6, 1), num_tensors) == (parameters, tensors)
    assert multiply_adds(net) / 1e9 == pytest.approx(cost, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED_COST)
def test_unet_costs_the_published_multiply_adds(name):
    size, cost = PUBLISHED_COST[name]
    assert multiply_adds(getattr(configs, name)(), size) / 1e9 == pytest.approx(cost, rel=0.001)


def test_counts_are_those_of_the_parameters():
    net = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1,))
    assert (parameter_count(net), tensor_count(net)) == sizes(net)


def test_multiply_adds_of_a_convolution_grow_with_its_pixels():
    net = UNet(model_channels=32, num_res_blocks=0, channel_mult=(1,), middle_attention=False)
    convolution, dense = (3 + 2 * 32 + 2 * 32 + 64 + 32 + 3) * 32 * 9 + 64 * 32, 32 * 128 + 128 * 128 + 3 * 128 * 64
    assert multiply_adds(net, 8) == 64 * convolution + dense


def test_every_configuration_is_listed():
    public = {
        name
        for name, function in inspect.getmembers(configs, inspect.isfunction)
        if not name.startswith("_") and function.__module__ == configs.__name__
    }
    assert public == PUBLISHED.keys() | PUBLISHED_CLASSIFIERS.keys()


@pytest.mark.parametrize("name", [*PUBLISHED, *PUBLISHED_CLASSIFIERS])
def test_compute_type_is_an_option(name):
    assert getattr(configs, name)(dtype=jnp.bfloat16).dtype == jnp.bfloat16
