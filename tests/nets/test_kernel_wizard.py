"""The network of the nonlinear blur: its published size, and an independent implementation in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reddiff_jax.converting import read_kernel_wizard
from reddiff_jax.nets import KernelWizard, parameter_count, parameter_shapes

SMALL = KernelWizard(features=4, num_front_blocks=2, num_back_blocks=3, channel_mult=(1, 2))


def test_published_network_has_23_7_million_parameters():
    # Counted by hand from the layers: features 814,208, adapter 21,037,120, reconstruction 1,811,203.
    assert parameter_count(KernelWizard()) == 23_662_531


def test_published_network_takes_sides_divisible_by_128():
    assert KernelWizard().stride == 128


def _torch_wizard(net: KernelWizard):
    """The same network from PyTorch's own layers, named as in the published state dict."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    f = net.features

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = (nn.Conv2d(f, f, 3, padding=1) for _ in range(2))

        def forward(self, x):
            return x + self.conv2(self.conv1(x).relu())

    class Level(nn.Module):
        def __init__(self, outer, depth):
            super().__init__()
            inner, self.first = net.channel_mult[depth] * f, depth == 0
            down = nn.Conv2d(outer, inner, 4, 2, 1, bias=False)
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=self.first)
            self.down = nn.Sequential(down) if self.first else nn.Sequential(nn.LeakyReLU(0.2), down)
            self.up = nn.Sequential(nn.ReLU(), up)
            last = depth + 1 == len(net.channel_mult)
            self.submodule = None if last else Level(inner, depth + 1)

        def forward(self, x, code):
            h = self.down(x)
            h = torch.cat([h, code], 1) if self.submodule is None else self.submodule(h, code)
            return self.up(h).tanh() if self.first else torch.cat([self.up(h), x], 1)

    class Adapter(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Level(f, 0)

    class Wizard(nn.Module):
        def __init__(self):
            super().__init__()
            lrelu, shuffle = nn.LeakyReLU(0.1), nn.PixelShuffle(2)
            front = [layer for i in (0, 1, 2) for layer in (nn.Conv2d(f if i else 3, f, 3, 2 if i else 1, 1), lrelu)]
            self.feature_extractor = nn.Sequential(*front, *(Block() for _ in range(net.num_front_blocks)))
            self.adapter = Adapter()
            back = [layer for _ in range(2) for layer in (nn.Conv2d(f, 4 * f, 3, 1, 1), shuffle, lrelu)]
            blocks = (Block() for _ in range(net.num_back_blocks))
            self.recon_trunk = nn.Sequential(*blocks, *back, nn.Conv2d(f, f, 3, 1, 1), lrelu, nn.Conv2d(f, 3, 3, 1, 1))
            self.kernel_extractor = nn.Linear(2, 2)  # stands for the part that is not used

        def forward(self, x, code):
            return x + self.recon_trunk(self.adapter.model(self.feature_extractor(x), code))

    torch.manual_seed(0)
    return torch, Wizard()


@pytest.mark.oracle
def test_network_and_converter_equal_pytorch_s(tmp_path, rng):
    torch, theirs = _torch_wizard(SMALL)
    path = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    params = read_kernel_wizard(path, net=SMALL)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, parameter_shapes(SMALL))
    x = rng.random((32, 16, 3)).astype(np.float32)
    code = rng.normal(size=SMALL.code_shape(32, 16)).astype(np.float32)
    with torch.no_grad():
        image, batch = (torch.tensor(each.transpose(2, 0, 1))[None] for each in (x, code))
        y = theirs(image, batch)[0].numpy().transpose(1, 2, 0)
    assert np.abs(y - x).max() > 1e-2
    # float32, about 20 layers.
    np.testing.assert_allclose(jax.jit(SMALL.apply)({"params": params}, x, code), y, atol=1e-5)
