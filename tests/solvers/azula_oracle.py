"""azula's samplers with the priors of dense.py: their step with its noise given, and their estimates."""

import numpy as np
import pytest
from dense import SHAPE, Scene


def step(scene: Scene, sampler: str, monkeypatch, t: int, s: int, **options) -> np.ndarray:
    """x_s from x_start, drawn with the noise z[0]; ``options`` of torch functions of images."""
    torch, tensor, exact = _load(scene)
    import azula.guidance.dps
    import azula.guidance.pgdm
    import azula.sample

    kinds = {
        "ddim": azula.sample.DDIMSampler,
        "dps": azula.guidance.dps.DPSSampler,
        "pigdm": azula.guidance.pgdm.PGDMSampler,
    }
    monkeypatch.setattr(torch, "randn_like", lambda x: tensor(scene.z[0].reshape(SHAPE)))
    matrices = {"A": scene.matrix, "A_inv": scene.pinv}
    maps = {name: _linear(torch, tensor(matrices[name])) for name in options.pop("maps", ())}
    data = {"y": tensor(scene.y)} if maps else {}
    x_t = tensor(scene.x_start.reshape(SHAPE))
    x_s = kinds[sampler](exact, **data, **maps, **options).step(x_t, torch.tensor(t), torch.tensor(s))
    return x_s.detach().numpy()


def mmps_mean(scene: Scene, t: int, iterations: int) -> np.ndarray:
    """E[x_0 | x_t, y] at x_start, as azula's MMPSDenoiser has it with conjugate gradients."""
    torch, tensor, exact = _load(scene)
    import azula.guidance.mmps
    import azula.linalg.covariance

    covariance = azula.linalg.covariance.IsotropicCovariance(tensor(scene.sigma_y**2))
    matrix = _linear(torch, tensor(scene.matrix))
    denoiser = azula.guidance.mmps.MMPSDenoiser(
        exact, tensor(scene.y), lambda x: matrix(x).reshape(-1), covariance, solver="cg", iterations=iterations
    )
    return denoiser(tensor(scene.x_start.reshape(SHAPE)), torch.tensor(t)).mean.detach().numpy()


def _load(scene: Scene):
    """torch, a maker of float64 tensors, and the scene's Gaussian prior as azula's denoiser."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("azula")
    import azula.denoise

    def tensor(array):
        return torch.tensor(np.asarray(array, np.float64))

    class Table(torch.nn.Module):
        def forward(self, t):
            return tensor(scene.alphas[int(t)]), tensor(scene.sigmas[int(t)])

    class Exact(azula.denoise.Denoiser):
        schedule = Table()

        def forward(self, x_t, t, **kwargs):
            a, s = self.schedule(t)
            mean, variance = (tensor(table[0].reshape(SHAPE)) for table in (scene.means, scene.variances))
            return azula.denoise.DiracPosterior(mean + a * variance / (a**2 * variance + s**2) * (x_t - a * mean))

    return torch, tensor, Exact()


def _linear(torch, matrix):
    shape = SHAPE if matrix.shape[0] == np.prod(SHAPE) else (matrix.shape[0],)
    return lambda x: (matrix @ x.reshape(-1)).reshape(shape)
