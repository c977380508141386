"""The residual UNet: its size, its start, and an independent implementation in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reddiff_jax import converting, io
from reddiff_jax.nets import ResidualUNet, parameter_count, parameter_shapes, tensor_count
from reddiff_jax.nets.residual_unet import Grow

TINY = ResidualUNet(widths=(8, 12), num_res_blocks=1)
THREE_LEVELS = ResidualUNet(widths=(8, 12, 10), num_res_blocks=2)


@pytest.fixture
def image(rng) -> np.ndarray:
    return rng.standard_normal((8, 8, 3), dtype=np.float32)


def relative_difference(ours, theirs) -> float:
    return float(jnp.abs(ours - theirs).max() / jnp.abs(theirs).max())


def test_it_has_the_parameters_and_tensors_of_the_pytorch_file():
    assert (parameter_count(ResidualUNet()), tensor_count(ResidualUNet())) == (10_043_276, 104)


def test_a_card_describes_it():
    assert io.net_from_card(io.describe_net(THREE_LEVELS)) == THREE_LEVELS


def test_size_must_be_a_multiple_of_the_stride(key):
    with pytest.raises(
        ValueError, match=r"shape \(24, 8, .\) but this ResidualUNet needs height and width divisible by 16"
    ):
        jax.eval_shape(ResidualUNet().init, key, jnp.zeros((24, 8, 3)), 0)


def test_it_takes_no_label(key, image):
    with pytest.raises(ValueError, match="ResidualUNet is unconditional and takes no label"):
        jax.eval_shape(TINY.init, key, image, 0, 1)


def test_gray_pictures_have_one_channel(key):
    net = TINY.clone(in_channels=1, out_channels=1)
    shape = jax.eval_shape(lambda key: net.init_with_output(key, jnp.zeros((8, 4, 1)), 0)[0], key).shape
    assert shape == (8, 4, 1)


def test_a_new_network_s_output_is_zero(key, image):
    output, _ = jax.jit(TINY.init_with_output)(key, image, 10)
    assert not output.any()


def test_a_new_block_is_nearly_the_identity_and_starts_with_he_s_kernel(key):
    net = ResidualUNet(widths=(64,), num_res_blocks=1, patch_size=1)
    block = jax.jit(net.init)(key, jnp.zeros((1, 1, 3)), 0)["params"]["down_0_0"]
    he, small = (float(block[name]["kernel"].std()) for name in ("conv1", "conv2"))
    # 36,864 independent numbers: their standard deviation is known to 0.4 %.
    assert he == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert small == pytest.approx(1e-2 / 64**0.5, rel=0.02)
    assert not block["film"]["kernel"].any()


def test_the_timestep_changes_the_output(image, redrawn):
    params = redrawn(TINY)
    outputs = [TINY.apply({"params": params}, image, t) for t in (10, 500)]
    assert relative_difference(*outputs) > 1e-3


def test_growing_makes_a_patch_of_each_pixel(rng):
    x, kernel, bias = (rng.standard_normal(shape, dtype=np.float32) for shape in ((3, 2, 5), (5, 2, 2, 4), (4,)))
    y = Grow(4).apply({"params": {"kernel": kernel, "bias": bias}}, x)
    assert y.shape == (6, 4, 4)
    np.testing.assert_allclose(y[2 * 2 + 1, 2 * 1 + 0], x[2, 1] @ kernel[:, 1, 0] + bias, atol=1e-6)  # float32


@pytest.mark.slow
def test_bfloat16_is_close_to_float32(image, redrawn):
    params = redrawn(THREE_LEVELS)
    full = THREE_LEVELS.apply({"params": params}, image, 100)
    half = THREE_LEVELS.clone(dtype=jnp.bfloat16).apply({"params": params}, image, 100)
    assert half.dtype == jnp.float32
    # 0.2 % a rounding, some 25 independent ones on the way from input to output: 1 % of the output's scale
    assert 1e-4 < jnp.sqrt(jnp.mean(jnp.square(half - full)) / jnp.mean(jnp.square(full))) < 0.02


def test_remat_recomputes_with_the_same_parameters(image, redrawn):
    rematted, params = TINY.clone(remat=True), redrawn(TINY)
    assert parameter_shapes(rematted) == parameter_shapes(TINY)
    assert "remat" in str(jax.make_jaxpr(lambda x: rematted.apply({"params": params}, x, 50))(image))


def _torch_residual_unet(net: ResidualUNet):
    """The same network from PyTorch's own layers, named as in its state dicts."""
    torch = pytest.importorskip("torch")
    nn, patch = torch.nn, net.patch_size

    def embed(t):
        phases = t[:, None] / 10_000 ** (torch.arange(32) / 32)
        return torch.cat([phases.cos(), phases.sin()], 1)

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
            self.film = nn.Linear(128, 2 * width)

        def forward(self, x, embedding):
            a, b = self.film(embedding)[:, :, None, None].chunk(2, 1)
            return x + self.conv2((self.conv1(x) * (1 + a) + b).relu())

    class Level(nn.ModuleList):
        def __init__(self, width):
            super().__init__(Block(width) for _ in range(net.num_res_blocks))

        def forward(self, x, embedding):
            for block in self:
                x = block(x, embedding)
            return x

    class Twin(nn.Module):
        def __init__(self):
            super().__init__()
            steps = list(zip(net.widths, net.widths[1:], strict=False))
            self.time = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU())
            self.head = nn.Conv2d(net.in_channels * patch**2, net.widths[0], 3, padding=1)
            self.down = nn.ModuleList(Level(width) for width in net.widths)
            self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in steps)
            self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2) for fine, coarse in steps)
            self.up = nn.ModuleList(Level(width) for width in net.widths[:-1])
            self.tail = nn.Conv2d(net.widths[0], net.out_channels * patch**2, 3, padding=1)

        def forward(self, x, t):
            embedding = self.time(embed(t))
            first = self.head(nn.functional.pixel_unshuffle(x, patch))
            features = [self.down[0](first, embedding)]
            for shrink, level in zip(self.shrink, self.down[1:], strict=True):
                features.append(level(shrink(features[-1]), embedding))
            h = features.pop()
            for grow, level in reversed(list(zip(self.grow, self.up, strict=True))):
                h = level(grow(h) + features.pop(), embedding)
            return nn.functional.pixel_shuffle(self.tail(h + first), patch)

    torch.manual_seed(0)
    return torch, Twin()


@pytest.mark.oracle
@pytest.mark.parametrize(
    "net",
    [THREE_LEVELS, TINY.clone(in_channels=1, out_channels=1, patch_size=3), TINY.clone(widths=(8,), patch_size=1)],
    ids=["three_levels", "gray_in_patches_of_3", "one_level"],
)
def test_network_and_converter_equal_pytorch_s(net, tmp_path, rng):
    torch, twin = _torch_residual_unet(net)
    torch.save(twin.state_dict(), tmp_path / "a.pt")
    converting.convert(tmp_path / "a.pt", tmp_path / "out")
    prior = io.load_prior(tmp_path / "out")
    assert prior.net == net
    images = rng.standard_normal((3, 2 * net.stride, 3 * net.stride, net.in_channels), dtype=np.float32)
    timesteps = np.array([0, 10, 999])
    ours = jax.vmap(lambda x, t: net.apply({"params": prior.params}, x, t))(images, timesteps)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(images).movedim(-1, 1), torch.from_numpy(timesteps)).movedim(1, -1).numpy()
    # float32: 6e-8 a rounding, times the gain of some twenty layers in a row
    assert relative_difference(ours, theirs) < 1e-5
