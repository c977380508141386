"""A user's own network as a prior: Flax NNX and Linen, Equinox, PyTorch; and a prior as a denoiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from docs_pages import blocks
from flax import linen as nn
from flax import nnx

import reddiff_jax as rd

SHAPE = (6, 5, 3)
LINEAR = rd.schedules.linear()
X_T = jnp.asarray(np.random.default_rng(0).normal(size=SHAPE), jnp.float32)


class NnxNet(nnx.Module):
    def __init__(self, rngs, features=3):
        self.layer, self.drop = nnx.Linear(3, features, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.norm = nnx.BatchNorm(features, rngs=rngs)
        self.activation = jnp.tanh

    def __call__(self, x_t, t, cond=0.0):
        return self.activation(self.norm(self.drop(self.layer(x_t)))) + t / 1000 + cond


class LinenNet(nn.Module):
    normalised: bool = False

    @nn.compact
    def __call__(self, x_t, t, cond=0.0):
        h = nn.Dense(3)(x_t)
        h = nn.BatchNorm(use_running_average=True)(h) if self.normalised else h
        return h + t / 1000 + cond


def _nnx():
    net = NnxNet(nnx.Rngs(0))
    net.eval()
    return rd.prior(net, LINEAR), net


def _linen(normalised=False, *, wrapped=True):
    net = LinenNet(normalised)
    variables = net.init(jax.random.key(0), X_T, jnp.int32(0))
    prior = rd.prior(net, LINEAR, params=variables if wrapped else variables["params"])
    return prior, lambda *args: net.apply(variables, *args)


def _equinox():
    eqx = pytest.importorskip("equinox")

    class Net(eqx.Module):
        layer: eqx.nn.Linear
        activation: object

        def __call__(self, x_t, t, cond=0.0):
            return self.activation(jax.vmap(jax.vmap(self.layer))(x_t)) + t / 1000 + cond

    net = Net(eqx.nn.Linear(3, 3, key=jax.random.key(0)), jax.nn.relu)
    return rd.prior(net, LINEAR), net


MODULES = {
    "nnx": _nnx,
    "linen": _linen,
    "linen_params": lambda: _linen(wrapped=False),
    "linen_collections": lambda: _linen(True),
    "equinox": _equinox,
    "partial": lambda: (
        rd.prior(jax.tree_util.Partial(_affine, 2 * jnp.ones((1, 1, 3))), LINEAR),
        lambda *a: _affine(2.0, *a),
    ),
}
every_module = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)


def _affine(scale, x_t, t, cond=0.0):
    return scale * x_t + t / 1000 + cond


@every_module
def test_a_module_is_called_for_one_image_with_a_condition_if_there_is_one(make):
    prior, net = make()
    # float32; the products are fused in other orders
    np.testing.assert_allclose(prior.eps(X_T, 500), net(X_T, 500), atol=1e-5)
    np.testing.assert_allclose(prior.eps(X_T, 500, jnp.float32(2)), net(X_T, 500, 2.0), atol=1e-5)


@every_module
def test_a_modules_arrays_are_leaves_so_that_new_ones_compile_nothing(make):
    prior, _ = make()
    traces = []

    @jax.jit
    def eps(prior, x_t):
        traces.append(1)
        return prior.eps(x_t, 3)

    other = jax.tree.map(lambda leaf: leaf + 1 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, prior)
    assert not np.allclose(eps(prior, X_T), eps(other, X_T))
    assert len(traces) == 1


@every_module
def test_a_batch_of_a_module_is_its_single_images(make):
    prior, _ = make()
    batch, ts = jnp.stack([X_T, 2 * X_T]), jnp.asarray([1, 7])
    singles = [prior.eps(x_t, t) for x_t, t in zip(batch, ts, strict=True)]
    np.testing.assert_allclose(jax.vmap(prior.eps)(batch, ts), jnp.stack(singles), atol=1e-5)  # float32


def test_a_repr_names_the_module_and_counts_its_parameters():
    assert repr(_nnx()[0]).startswith("ModulePrior(NnxNet, ")


def test_a_linen_module_without_parameters_says_how_to_make_them():
    with pytest.raises(TypeError, match=r"params is None but a Linen module needs .* params=net\.init\(key, x, t\)"):
        rd.prior(LinenNet(), LINEAR)


def test_parameters_beside_a_module_that_holds_its_own_are_an_error():
    with pytest.raises(TypeError, match=r"params belong to a function, but fn is .*NnxNet"):
        rd.prior(NnxNet(nnx.Rngs(0)), LINEAR, params={})


def test_a_module_that_returns_another_shape_is_named():
    net = NnxNet(nnx.Rngs(0), features=6)
    net.eval()
    with pytest.raises(ValueError, match=r"NnxNet, returned .*\[6, 5, 6\].* Return output\[:, :, :3\]"):
        rd.prior(net, LINEAR).eps(X_T, 3)


# ---- PyTorch


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def torch_net(torch):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = torch.nn.Conv2d(3, 3, 3, padding=1), []

        def forward(self, x_t, t, cond=None):
            self.calls.append(tuple(x_t.shape))
            extra = 0 if cond is None else cond[:, None, None, None]
            return torch.tanh(self.layer(x_t)) + t[:, None, None, None] / 1000 + extra

    return Net().eval()


def _asked(torch, net, x_t, t, cond=None):
    x = torch.from_numpy(np.array(x_t)).movedim(-1, 0)[None]
    args = [torch.tensor([each]) for each in (t, cond) if each is not None]
    return net(x, *args)[0].movedim(0, -1).detach().numpy()


@pytest.mark.oracle
def test_a_module_of_pytorch_is_asked_on_the_host(torch, torch_net):
    prior = rd.torch_prior(torch_net, LINEAR)
    np.testing.assert_allclose(prior.eps(X_T, 500), _asked(torch, torch_net, X_T, 500), atol=1e-6)
    conditioned = jax.jit(prior.eps)(X_T, jnp.float32(2.5), jnp.float32(3))
    np.testing.assert_allclose(conditioned, _asked(torch, torch_net, X_T, 2.5, 3.0), atol=1e-6)


@pytest.mark.oracle
def test_a_batch_is_one_call_of_pytorch(torch, torch_net):
    prior = rd.torch_prior(torch_net, LINEAR)
    batch, ts = jnp.stack([X_T, 2 * X_T]), jnp.asarray([1, 7])
    outputs = jax.jit(jax.vmap(prior.eps))(batch, ts)
    assert torch_net.calls == [(2, 3, 6, 5)]
    for x_t, t, output in zip(batch, (1, 7), outputs, strict=True):
        np.testing.assert_allclose(output, _asked(torch, torch_net, x_t, t), atol=1e-6)


@pytest.mark.oracle
def test_the_derivative_is_pytorchs(torch, torch_net):
    prior = rd.torch_prior(torch_net, LINEAR)
    way = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE), jnp.float32)
    found = jax.grad(lambda x: jnp.vdot(prior.eps(x, 5), way))(X_T)
    x = torch.from_numpy(np.array(X_T)).movedim(-1, 0)[None].requires_grad_()
    (torch_net(x, torch.tensor([5])) * torch.from_numpy(np.array(way)).movedim(-1, 0)).sum().backward()
    np.testing.assert_allclose(found, x.grad[0].movedim(0, -1).numpy(), atol=1e-5)  # float32


@pytest.mark.oracle
@pytest.mark.slow
def test_dps_restores_with_a_module_of_pytorch(torch, torch_net):
    problem = rd.measure(jax.random.key(0), rd.inpainting(np.ones(SHAPE[:2], bool)), rd.gaussian(0.1), X_T)
    assert rd.run(jax.random.key(1), rd.dps(rd.torch_prior(torch_net, LINEAR), num_steps=3), problem).finite


@pytest.mark.oracle
def test_prior_names_the_way_for_a_module_of_pytorch(torch_net):
    with pytest.raises(TypeError, match=r"a Net of PyTorch; rd\.torch_prior\(module, schedule\) calls it on"):
        rd.prior(torch_net, LINEAR)


@pytest.mark.oracle
def test_a_module_of_pytorch_that_returns_another_shape_says_so(torch):
    prior = rd.torch_prior(_Doubled(), LINEAR)
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"returned \(1, 6, 6, 5\) for images \(1, 3, 6, 5\)"):
        jax.block_until_ready(prior.eps(X_T, 3))


class _Doubled:
    def __call__(self, x_t, t):
        return x_t.repeat(1, 2, 1, 1)


# ---- the pages


@pytest.mark.parametrize("package", ["equinox", "torch"])
def test_a_recipe_with_an_optional_package_makes_a_prior(package):
    pytest.importorskip(package)
    (recipe,) = [block for block in blocks("docs/guides/priors.md", "py") if f"import {package}" in block]
    found = {"rd": rd, "jax": jax, "jnp": jnp}
    exec(compile(recipe, package, "exec"), found)
    assert found["prior"].eps(X_T, 3).shape == SHAPE
    assert len([line for line in recipe.splitlines() if line.strip()]) <= 11  # a recipe, not a program


# ---- a denoiser


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
@pytest.mark.parametrize(
    "schedule", [LINEAR, rd.schedules.edm(), rd.schedules.rectified_flow()], ids=["vp", "ve", "rf"]
)
def test_the_denoiser_of_a_gaussian_is_wieners_whatever_the_schedule(schedule, sigma):
    denoise = rd.as_denoiser(rd.gaussian_prior(jnp.full(SHAPE, 0.1), 0.25, schedule), sigma)
    expected = 0.1 + 0.25 / (0.25 + sigma**2) * (X_T - 0.1)
    np.testing.assert_allclose(denoise(X_T), expected, atol=2e-5)  # float32 of order 3


def test_a_denoiser_is_vmapped_and_differentiated():
    denoise = rd.as_denoiser(rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, LINEAR), 0.5)
    np.testing.assert_allclose(jax.vmap(denoise)(jnp.stack([X_T, X_T]))[1], denoise(X_T), atol=1e-6)  # float32
    slope = jax.jvp(denoise, (X_T,), (jnp.ones(SHAPE),))[1]
    np.testing.assert_allclose(slope, 0.5, rtol=1e-4)  # 0.25 / (0.25 + 0.25)


@pytest.mark.parametrize(
    ("sigma", "said"),
    [(25.0, None), (0.0, "sigma"), (1e-4, r"levels from 0\.01 to 157"), (400.0, r"levels from 0\.01 to 157")],
)
def test_a_noise_level_outside_the_schedule_is_an_error(sigma, said):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, LINEAR)
    if said is None:
        rd.as_denoiser(prior, sigma)
        return
    with pytest.raises(ValueError, match=said):
        rd.as_denoiser(prior, sigma)
