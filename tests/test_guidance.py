"""Guidance: closed forms of a Gaussian mixture, whose classes' posterior and conditional scores are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import reddiff_jax as rd
from reddiff_jax import schedules
from reddiff_jax.nets import EncoderUNet, UNet, parameter_shapes

SHAPE = (4, 3, 2)
LINEAR = schedules.linear()
TIMESTEPS = [10, 300, 999]
NUM_CLASSES = 3


def _normal(seed, *shape, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), jnp.float32)


MIXTURE = rd.mixture_prior(
    jnp.asarray([1.0, 2.0, 3.0]), _normal(0, NUM_CLASSES, *SHAPE, scale=0.3), jnp.asarray([0.1, 0.3, 0.2]), LINEAR
)
X_T = _normal(1, *SHAPE, scale=0.5)


def _log_posterior(mixture, x_t, t):
    """Logits of the exact p(class | x_t)."""
    return mixture.log_weights + jax.vmap(lambda component: component.log_density(x_t, t))(mixture.components)


def _component_eps(components, x_t, t, cond):
    """The exact conditional prediction; without a class the first component's."""
    return jax.tree.map(lambda leaf: leaf[0 if cond is None else cond], components).eps(x_t, t)


GUIDED = rd.classifier_guided(MIXTURE, _log_posterior, params=MIXTURE)
CONDITIONAL = rd.prior(_component_eps, LINEAR, params=MIXTURE.components)


def _component(k):
    return jax.tree.map(lambda leaf: leaf[k], MIXTURE.components)


# ---- by a classifier


@pytest.mark.slow
@pytest.mark.parametrize("t", TIMESTEPS)
@pytest.mark.parametrize("label", range(NUM_CLASSES))
def test_the_exact_classifier_at_scale_1_gives_the_class_its_own_prediction(label, t):
    expected = _component(label).eps(X_T, t)
    # sigma_t times gradients of float32 log densities, of order 100 at t = 10
    np.testing.assert_allclose(GUIDED.eps(X_T, t, label), expected, atol=2e-5 * max(1, np.abs(expected).max()))


@pytest.mark.slow
def test_solvers_may_differentiate_through_a_guided_prior():
    pulled = [jax.vjp(lambda x, p=p: p.denoise(x, 300, 1), X_T)[1](X_T)[0] for p in (GUIDED, _component(1))]
    np.testing.assert_allclose(*pulled, atol=1e-4)  # second derivatives of float32 log densities


def test_scale_0_is_the_prior():
    np.testing.assert_array_equal(GUIDED.replace(scale=jnp.zeros(())).eps(X_T, 300, 1), MIXTURE.eps(X_T, 300))


def test_guidance_is_linear_in_the_scale():
    at = [GUIDED.replace(scale=jnp.float32(scale)).eps(X_T, 300, 2) for scale in (0, 1, 3)]
    np.testing.assert_allclose(at[2] - at[0], 3 * (at[1] - at[0]), atol=1e-5)  # float32


def test_a_scale_for_each_timestep_is_looked_up():
    scales = jnp.linspace(0, 2, 1000)
    guided = rd.classifier_guided(MIXTURE, _log_posterior, scales, params=MIXTURE)
    expected = GUIDED.replace(scale=scales[300]).eps(X_T, 300, 1)
    np.testing.assert_array_equal(guided.eps(X_T, 300, 1), expected)


def test_a_conditional_prior_is_given_the_class_too():
    flat = rd.classifier_guided(CONDITIONAL, lambda x_t, t: jnp.zeros(NUM_CLASSES), conditional=True)
    np.testing.assert_array_equal(flat.eps(X_T, 300, 2), _component(2).eps(X_T, 300))


def _problems(seeds):
    operator = rd.inpainting(np.arange(12).reshape(4, 3, 1) % 2 == 0, channels=2)
    return [rd.problem(_normal(i, *SHAPE), operator, rd.gaussian(0.1), cond=jnp.int32(i % NUM_CLASSES)) for i in seeds]


SOLVER = rd.reddiff(GUIDED, num_steps=12, lam=1.0)


@pytest.fixture(scope="module")
def solved():
    """Five problems of three classes restored in one call; and how often the classifier was traced."""
    traces = []

    def counted(mixture, x_t, t):
        traces.append(None)
        return _log_posterior(mixture, x_t, t)

    solver = rd.reddiff(rd.classifier_guided(MIXTURE, counted, params=MIXTURE), num_steps=12, lam=1.0)
    runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))
    keys = jax.random.split(jax.random.key(0), 5)
    solution = runs(keys, solver, rd.stack(_problems(range(5))))
    first = len(traces)
    runs(keys, solver.replace(prior=solver.prior.replace(scale=2.0)), rd.stack(_problems(range(1, 6))))
    return keys, solution, (first, len(traces))


def test_other_classes_and_scales_do_not_compile_again(solved):
    _, _, (first, second) = solved
    assert first == second


def test_each_image_of_a_batch_has_its_own_class(solved):
    keys, solution, _ = solved
    for i in (1, 4):
        # The mask hides half the pixels, whose restoration is the class's own.
        alone = rd.run(keys[i], rd.reddiff(_component(i % NUM_CLASSES), num_steps=12, lam=1.0), _problems([i])[0]).x
        np.testing.assert_allclose(solution.x[i], alone, atol=1e-3)  # Adam's steps of 0.1 amplify roundings


def test_a_class_that_does_not_exist_gives_nothing_finite():
    problem = _problems([0])[0].replace(cond=jnp.int32(7))
    assert not rd.run(jax.random.key(0), SOLVER, problem).finite


@pytest.mark.parametrize("guide", ["classifier_guided", "classifier_free"])
@pytest.mark.parametrize(
    ("cond", "error", "message"),
    [
        (None, ValueError, "needs a class but the condition has none"),
        ({"low_res": 1}, ValueError, "needs a class but the condition has none"),
        (jnp.float32(1), TypeError, r"cond is float32\[\] but must be one integer"),
        (jnp.arange(2), TypeError, r"cond is int32\[2\] but must be one integer.*jax.vmap"),
    ],
    ids=["none", "no_label", "float", "batch"],
)
def test_a_condition_without_one_class_is_an_error_when_traced(guide, cond, error, message):
    prior = GUIDED if guide == "classifier_guided" else rd.classifier_free(CONDITIONAL, 2, unconditional=MIXTURE)
    with pytest.raises(error, match=f"{guide}.*{message}"):
        jax.eval_shape(prior.eps, X_T, 300, cond)


@pytest.mark.parametrize("label", [3, -1])
def test_a_concrete_class_out_of_range_is_an_error(label):
    with pytest.raises(ValueError, match=f"cond is class {label} but there are 3, 0 to 2"):
        GUIDED.eps(X_T, 300, label)


def test_a_concrete_class_beyond_the_networks_is_an_error():
    prior = rd.priors.NetPrior(schedule=LINEAR, params={"gain": jnp.ones(4)}, net=_Labelled())
    with pytest.raises(ValueError, match="cond is class 4 but there are 4, 0 to 3"):
        rd.classifier_free(prior, 2.0, null_label=3).eps(X_T, 300, 4)


# ---- networks as classifiers


@pytest.fixture(scope="module")
def classifier():
    """A tiny network with random weights, as ``io.load_classifier`` returns it."""
    net = EncoderUNet(
        image_size=8, model_channels=32, num_res_blocks=0, channel_mult=(1,), num_head_channels=16, num_classes=5
    )
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.1 * rng.normal(size=leaf.shape), jnp.float32), _shapes(net))
    return net, params, LINEAR


@functools.cache
def _shapes(net):
    return parameter_shapes(net)


GRAY = rd.gaussian_prior(jnp.zeros((8, 8, 3)), 0.5, LINEAR)


@pytest.mark.slow
def test_a_loaded_classifier_guides_by_its_input_gradient(classifier):
    net, params, _ = classifier
    x_t, sigma_t = _normal(2, 8, 8, 3), LINEAR(300)[1]

    def log_probability(x_t):
        logits = net.apply({"params": params}, x_t, 300)
        return logits[4] - jax.nn.logsumexp(logits)

    guided = rd.classifier_guided(GRAY, classifier, 5.0)
    gradient, eps = jax.jit(lambda x_t: (jax.grad(log_probability)(x_t), guided.eps(x_t, 300, 4)))(x_t)
    np.testing.assert_allclose(eps, GRAY.eps(x_t, 300) - 5.0 * sigma_t * gradient, atol=1e-5)  # float32


@pytest.mark.slow
def test_red_diff_runs_under_a_loaded_classifier_with_a_class_an_image(classifier):
    solver = rd.reddiff(rd.classifier_guided(GRAY, classifier, 20.0), num_steps=3)
    problem = rd.problem(jnp.zeros((8, 8, 3)), rd.inpainting(np.eye(8)), cond=jnp.int32(0))
    labels = jnp.asarray([0, 3, 0])
    key = jax.random.key(0)
    batch = jax.jit(jax.vmap(lambda label: rd.run(key, solver, problem.replace(cond=label)).x))(labels)
    np.testing.assert_array_equal(batch[0], batch[2])
    assert float(jnp.abs(batch[0] - batch[1]).max()) > 1e-4


def test_equal_classifiers_share_a_compilation(classifier):
    net, params, schedule = classifier
    one, other = (rd.classifier_guided(GRAY, (each, params, schedule)) for each in (net, net.clone()))
    assert jax.tree.structure(one) == jax.tree.structure(other)


def test_a_network_with_classes_is_given_the_class(classifier):
    def conditional(num_classes):
        net = UNet(model_channels=32, num_classes=num_classes)
        return rd.classifier_guided(rd.priors.NetPrior(schedule=LINEAR, params={}, net=net), classifier).conditional

    assert (conditional(5), conditional(None)) == (True, False)


def test_a_classifier_of_other_noise_is_an_error(classifier):
    net, params, _ = classifier
    with pytest.raises(ValueError, match=r"the classifier has a schedule of 1000 timesteps .* or their noise levels"):
        rd.classifier_guided(GRAY, (net, params, schedules.cosine()))


def test_parameters_beside_a_loaded_classifier_are_an_error(classifier):
    with pytest.raises(ValueError, match="a loaded one brings its own"):
        rd.classifier_guided(GRAY, classifier, params={})


@pytest.mark.parametrize(("scale", "message"), [(jnp.ones(3), r"shape \(3,\)"), (-1.0, "not negative")])
def test_a_scale_that_is_none_is_an_error(scale, message):
    with pytest.raises(ValueError, match=message):
        rd.classifier_guided(MIXTURE, _log_posterior, scale, params=MIXTURE)


# ---- the published conditional scale


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_conditional_scale_is_the_published_formula_on_the_grid(eta):
    grid = np.asarray(LINEAR.timesteps(20))
    factors = rd.conditional_scale(LINEAR, grid, eta=eta)
    # an independent table of alphas_cumprod, in float64
    alphas_cumprod = np.append(np.cumprod(1 - np.linspace(1e-4, 2e-2, 1000)), 1.0)
    for t, s in zip(grid, [*grid[1:], -1], strict=True):
        ab_t, ab_s = alphas_cumprod[t], alphas_cumprod[s]
        c1 = eta * np.sqrt((1 - ab_t / ab_s) * (1 - ab_s) / (1 - ab_t))
        c2 = np.sqrt(1 - ab_s - c1**2)
        expected = np.sqrt(ab_s) / (np.sqrt(ab_s) - c2 * np.sqrt(ab_t / (1 - ab_t)))
        # the schedule's tables are float32
        np.testing.assert_allclose(factors[t], expected, rtol=1e-5)


def test_conditional_scale_serves_timesteps_between_those_of_the_grid():
    factors = rd.conditional_scale(LINEAR, jnp.asarray([400, 100]))
    np.testing.assert_array_equal(factors[:101], np.ones(101))  # the next is the clean image
    assert bool((factors[101:] > 1).all())


def test_conditional_scale_does_not_depend_on_the_order_of_the_grid():
    grid = LINEAR.timesteps(10)
    np.testing.assert_array_equal(
        rd.conditional_scale(LINEAR, grid), rd.conditional_scale(LINEAR, grid[::-1].reshape(5, 2))
    )


def test_conditional_scale_multiplies_the_classifiers_scale():
    factors = rd.conditional_scale(LINEAR, LINEAR.timesteps(50))
    guided = rd.classifier_guided(MIXTURE, _log_posterior, 2.0 * factors, params=MIXTURE)
    expected = GUIDED.replace(scale=2.0 * factors[300]).eps(X_T, 300, 0)
    np.testing.assert_array_equal(guided.eps(X_T, 300, 0), expected)


@pytest.mark.parametrize(
    ("timesteps", "eta", "message"),
    [
        ([500], 1.5, "eta is 1.5"),
        ([1000], 0.0, r"must be some of 0\.\.999"),
        ([], 0.0, r"must be some of 0\.\.999"),
        ([5.5], 0.0, r"must be some of 0\.\.999"),
    ],
)
def test_a_grid_that_is_none_is_an_error(timesteps, eta, message):
    with pytest.raises(ValueError, match=message):
        rd.conditional_scale(LINEAR, np.asarray(timesteps), eta=eta)


# ---- without a classifier


@pytest.mark.parametrize("t", TIMESTEPS)
def test_without_a_classifier_scale_0_is_unconditional_and_1_conditional(t):
    free = rd.classifier_free(CONDITIONAL, 0.0, unconditional=MIXTURE)
    np.testing.assert_array_equal(free.eps(X_T, t, 2), MIXTURE.eps(X_T, t))
    expected = _component(2).eps(X_T, t)
    # a difference added again
    np.testing.assert_allclose(free.replace(scale=jnp.ones(())).eps(X_T, t, 2), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_with_exact_parts_both_kinds_of_guidance_are_one(scale):
    free = rd.classifier_free(CONDITIONAL, scale, unconditional=MIXTURE)
    guided = GUIDED.replace(scale=jnp.float32(scale))
    # as above, times the scale
    np.testing.assert_allclose(free.eps(X_T, 300, 1), guided.eps(X_T, 300, 1), atol=1e-5 * max(scale, 1))


def test_a_null_label_is_the_prediction_for_no_class():
    free = rd.classifier_free(CONDITIONAL, 3.0, null_label=0)
    conditional, null = (_component(k).eps(X_T, 300) for k in (2, 0))
    np.testing.assert_allclose(free.eps(X_T, 300, 2), null + 3 * (conditional - null), atol=1e-5)  # float32


def test_batches_without_a_classifier_have_a_class_an_image():
    free = rd.classifier_free(CONDITIONAL, 2.0, null_label=0)
    x_t, labels = _normal(3, 3, *SHAPE), jnp.asarray([2, 0, 1])
    batch = jax.jit(jax.vmap(free.eps, in_axes=(0, None, 0)))(x_t, 300, labels)
    expected = jnp.stack([free.eps(x, 300, label) for x, label in zip(x_t, labels, strict=True)])
    np.testing.assert_allclose(batch, expected, atol=1e-5)  # float32


def test_the_small_image_of_an_upsampler_reaches_both_predictions():
    def fn(x_t, t, cond):
        return x_t * cond["low_res"] + cond.get("label", 10)

    prior = rd.prior(fn, LINEAR)
    cond = {"low_res": jnp.float32(2.0), "label": jnp.int32(3)}
    null = rd.classifier_free(prior, 2.0, null_label=1).eps(jnp.ones(SHAPE), 300, cond)
    unconditional = rd.classifier_free(prior, 2.0, unconditional=prior).eps(jnp.ones(SHAPE), 300, cond)
    assert (float(null[0, 0, 0]), float(unconditional[0, 0, 0])) == (3 + 2 * (5 - 3), 12 + 2 * (5 - 12))


def test_scale_and_labels_are_traced():
    traces = []

    def fn(x_t, t, cond):
        traces.append(None)
        return x_t * cond

    free = rd.classifier_free(rd.prior(fn, LINEAR), 2.0, null_label=0)
    eps = jax.jit(lambda prior, label: prior.eps(X_T, 300, label))
    eps(free, jnp.int32(1))
    first = len(traces)
    eps(free.replace(scale=3.0), jnp.int32(2))
    assert len(traces) == first


class _Labelled(nn.Module):
    num_classes: int = 4

    @nn.compact
    def __call__(self, x_t, t, label):
        return x_t * self.param("gain", nn.initializers.ones, (self.num_classes,))[label]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs either unconditional=prior, null_label=index or null=tokens"),
        ({"unconditional": MIXTURE, "null_label": 0}, "needs either"),
        ({"unconditional": MIXTURE.replace(schedule=schedules.linear(10))}, "the unconditional prior has a schedule"),
        ({"null_label": 4}, "null_label is class 4 but there are 4"),
    ],
)
def test_what_does_not_fit_together_is_an_error(options, message):
    prior = rd.priors.NetPrior(schedule=LINEAR, params={"gain": jnp.ones(4)}, net=_Labelled())
    with pytest.raises(ValueError, match=message):
        rd.classifier_free(prior, 2.0, **options)
