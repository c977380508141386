"""This package's solvers as a model of deepinv's, for ``deepinv.test`` and for benchmarks that take such models.

    python -m benchmarks.deepinv_model [--size 64] [--steps 25]

    model = deepinv_model.reconstructor(lambda problem: rd.default_solver(prior, problem))
    deepinv.test(model, dataloader, physics)

The bridge takes deepinv's linear physics. Its pictures (B, C, H, W) are in [0, 1], ours (H, W, C) in [-1, 1]; with
``x = 2 x_01 - 1`` the measurement ``y_01 = A x_01 + n`` becomes ``y = 2 y_01 - A 1 = A x + 2 n``, so that the noise's
standard deviation doubles. Inpainting, denoising, blur and downsampling become operators of this package if these
give the same as deepinv's on a random picture. Any other physics is called back in torch, by A and A_adjoint, one
picture at a time: right, but slow. Run as a module, it restores benchmarks/quality.py's photos with both.
"""

import argparse
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks._torch import import_deepinv
from reddiff_jax import operators

TOLERANCE = 1e-4
"""Largest difference of an operator from deepinv's on pictures of order 1, float32."""
_BOUNDARIES = {
    "reflect": operators.Boundary.REFLECT,
    "replicate": operators.Boundary.EDGE,
    "constant": operators.Boundary.ZERO,
    "circular": operators.Boundary.CIRCULAR,
}
_runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))


class Bridge(NamedTuple):
    """deepinv's physics for one picture of a batch."""

    operator: rd.Operator
    is_ours: bool  # else A and A_adjoint are called back, and y stays as deepinv has it, without the batch axis

    def measurement(self, y: Any) -> jax.Array:
        """Brings y of one picture, a tensor (C, h, w) or (m,), into the operator's shape."""
        array = np.asarray(y.detach().cpu())
        return jnp.asarray(np.moveaxis(array, 0, -1) if self.is_ours else array)


def reconstructor(
    make: Callable[[rd.Problem], rd.Solver], *, sigma: float | None = None, seed: int = 0, called_back: bool = False
) -> Any:
    """Makes a ``deepinv.models.Reconstructor`` whose ``forward(y, physics)`` runs a solver on each picture of a batch.

    Args:
        make: Builds the solver for the first picture's problem; the batch shares it.
        sigma: Standard deviation of the noise for pixels in [0, 1]; by default that of ``physics.noise_model``.
        seed: Picture i has key i of ``jax.random.split(jax.random.key(seed), B)``.
        called_back: Always call torch's A and A_adjoint.

    Raises:
        TypeError: In ``forward``, if the physics is not linear, or its noise not Gaussian and ``sigma`` not given.
    """
    deepinv = import_deepinv()
    import torch

    class Reconstructor(deepinv.models.Reconstructor):
        def forward(self, y: Any, physics: Any, **kwargs: Any) -> Any:
            with torch.no_grad():
                found = problems(y, physics, sigma=sigma, called_back=called_back)
            keys = jax.random.split(jax.random.key(seed), len(found))
            xs = _runs(keys, make(found[0]), rd.stack(found)).x
            restored = np.moveaxis((np.asarray(xs) + 1) / 2, -1, 1)  # (B, C, H, W)
            return torch.from_numpy(np.ascontiguousarray(restored)).to(y)

    return Reconstructor()


def problems(y: Any, physics: Any, *, sigma: float | None = None, called_back: bool = False) -> list[rd.Problem]:
    """The problems of a batch, for pictures in [-1, 1].

    Args:
        y: Measurements as ``physics`` makes them of pictures in [0, 1], a tensor (B, ...).
        physics: A ``deepinv.physics.LinearPhysics``; its parameters may differ from picture to picture.
        sigma: As for ``reconstructor``.
        called_back: As for ``reconstructor``.

    Raises:
        TypeError: If the physics is not linear, or its noise not Gaussian and ``sigma`` not given.
    """
    deepinv = import_deepinv()
    import torch

    if not isinstance(physics, deepinv.physics.LinearPhysics):
        raise TypeError(
            f"physics is {type(physics).__name__} but must be a deepinv.physics.LinearPhysics: of no other is it known "
            "how A changes when pictures in [0, 1] become pictures in [-1, 1]."
        )
    levels = _levels(physics, sigma, len(y))
    shape = physics.A_adjoint(y).shape  # (B, C, H, W)
    bridges = _bridges(physics, tuple(shape), called_back)
    centred = 2 * y - physics.A(torch.ones(shape, dtype=y.dtype, device=y.device))
    return [
        rd.problem(bridge.measurement(each), bridge.operator, rd.gaussian(2 * level))
        for bridge, each, level in zip(bridges, centred, levels, strict=True)
    ]


def _bridges(physics: Any, shape: tuple[int, ...], called_back: bool) -> list[Bridge]:
    """One for each picture; all are this package's operators, or none."""
    import torch

    batch, c, h, w = shape
    if not called_back:
        found = [_ours(physics, i, (h, w, c)) for i in range(batch)]
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        expected = physics.A(x.to(_device(physics))).cpu().numpy()
        if all(each is not None and _agrees(each, x[i], expected[i]) for i, each in enumerate(found)):
            return [Bridge(each, True) for each in found if each is not None]
    call = _called(physics, shape)
    return [Bridge(rd.linear_operator(call, (h, w, c), params=jnp.int32(i)), False) for i in range(batch)]


def _ours(physics: Any, i: int, shape: tuple[int, int, int]) -> rd.Operator | None:
    """This package's operator for picture i, None if there is none."""
    theirs = import_deepinv().physics
    if isinstance(physics, theirs.Inpainting):
        mask = np.broadcast_to(_of_picture(physics.mask, i, 3), (shape[2], *shape[:2]))
        return rd.inpainting(np.moveaxis(mask, 0, -1))
    if isinstance(physics, theirs.Denoising):
        return rd.denoising(shape)
    if type(physics) is theirs.Downsampling and physics.padding in _BOUNDARIES:
        factor = int(physics.factor)
        sampled = rd.linear_operator(_every(factor), shape)
        blur = None if physics.filter is None else _blur(physics.filter, i, shape, physics.padding)
        return sampled if physics.filter is None else blur and rd.compose(sampled, blur)
    if isinstance(physics, theirs.BlurFFT):
        return _blur(physics.filter, i, shape, "circular")
    if isinstance(physics, theirs.Blur) and physics.padding in _BOUNDARIES:
        return _blur(physics.filter, i, shape, physics.padding)
    return None


def _blur(kernel: Any, i: int, shape: tuple[int, int, int], padding: str) -> rd.Operator | None:
    kernels = _of_picture(kernel, i, 3)  # (1 or C, h, w)
    if (kernels != kernels[0]).any():  # a kernel for each channel
        return None
    return rd.blur(kernels[0], shape, boundary=_BOUNDARIES[padding], normalize=False)


@lru_cache
def _every(factor: int) -> Callable[[jax.Array], jax.Array]:
    """Takes the first pixel of each block of factor x factor; one function, since solvers compile for each anew."""
    return lambda x: x[::factor, ::factor]


def _of_picture(parameter: Any, i: int, ndim: int) -> np.ndarray:
    """Picture i's parameter, without the batch axis; a shared one serves all."""
    array = np.asarray(parameter.detach().cpu(), np.float32)
    if array.ndim == ndim:
        return array
    return array[i if len(array) > 1 else 0]


def _agrees(operator: rd.Operator, x: Any, expected: np.ndarray) -> bool:
    measured = np.asarray(operator(jnp.asarray(np.moveaxis(x.numpy(), 0, -1))))
    expected = np.moveaxis(expected, 0, -1)
    return measured.shape == expected.shape and bool(np.abs(measured - expected).max() < TOLERANCE)


def _called(physics: Any, shape: tuple[int, ...]) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """``A(i, x)`` for picture i by deepinv itself, with A_adjoint as its derivative's transpose."""
    import torch

    batch, c, h, w = shape
    device = _device(physics)
    out = jax.ShapeDtypeStruct(tuple(physics.A(torch.zeros(shape, device=device)).shape[1:]), jnp.float32)

    def called(function: Callable[[Any], Any], i: Any, value: Any) -> np.ndarray:
        # The whole batch is measured, since any picture may have parameters of its own.
        tensor = torch.from_numpy(np.array(value, np.float32)).to(device)
        with torch.no_grad():
            result = function(tensor.expand(batch, *tensor.shape).contiguous())
        return result[int(i)].cpu().numpy().astype(np.float32)

    def forward(i: Any, x: Any) -> np.ndarray:
        return called(physics.A, i, np.moveaxis(np.asarray(x), -1, 0))

    def backward(i: Any, y: Any) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(called(physics.A_adjoint, i, y), 0, -1))

    image = jax.ShapeDtypeStruct((h, w, c), jnp.float32)

    @jax.custom_vjp
    def measure(i: jax.Array, x: jax.Array) -> jax.Array:
        return jax.pure_callback(forward, out, i, x, vmap_method="sequential")

    def pulled(i: jax.Array, y: jax.Array) -> tuple[None, jax.Array]:
        return None, jax.pure_callback(backward, image, i, y, vmap_method="sequential")

    measure.defvjp(lambda i, x: (measure(i, x), i), pulled)
    return measure


def _levels(physics: Any, sigma: float | None, batch: int) -> list[float]:
    """The noise's standard deviation of each picture, for pixels in [0, 1]."""
    theirs = import_deepinv().physics
    if sigma is not None:
        return [sigma] * batch
    noise = getattr(physics, "noise_model", None)
    if noise is None or isinstance(noise, theirs.ZeroNoise):
        return [0.0] * batch
    if not isinstance(noise, theirs.GaussianNoise):
        raise TypeError(
            f"physics.noise_model is {type(noise).__name__} but must be GaussianNoise; or give sigma, the standard "
            "deviation to reckon with for pixels in [0, 1]."
        )
    values = np.asarray(noise.sigma.detach().cpu(), np.float32).reshape(-1)
    return np.broadcast_to(values, (batch,)).tolist()


def _device(physics: Any) -> Any:
    """Where the physics' arrays are; the CPU if it has none."""
    return next((buffer.device for buffer in physics.buffers()), "cpu")


def main(argv: list[str] | None = None) -> dict[str, tuple[float, float]]:
    """Prints ``deepinv.test``'s PSNR of the default solver; returns those of both bridges for each physics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=25)
    args = parser.parse_args(argv)
    deepinv = import_deepinv()
    import torch

    from benchmarks import quality

    prior = rd.load_prior(args.prior)
    pictures = np.stack(list(quality.pictures(args.size).values()))
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis((pictures + 1) / 2, -1, 1)))
    shape, noise = tuple(x.shape[1:]), deepinv.physics.GaussianNoise(sigma=0.025)
    cases = {
        "inpainting": deepinv.physics.Inpainting(shape, mask=0.5, noise_model=noise),
        "denoising": deepinv.physics.Denoising(deepinv.physics.GaussianNoise(sigma=0.1)),
        "super-resolution": deepinv.physics.Downsampling(shape, filter="bicubic", factor=2, noise_model=noise),
    }

    def make(problem: rd.Problem) -> rd.Solver:
        return rd.noise_aware(prior, num_steps=args.steps)

    found = {}
    for name, physics in cases.items():
        y = physics(x)
        pairs = [{"x": image, "y": measured} for image, measured in zip(x, y, strict=True)]
        data = torch.utils.data.DataLoader(pairs, batch_size=len(x))  # type: ignore[arg-type]
        both = [
            deepinv.test(
                reconstructor(make, called_back=called_back),
                data,
                physics,
                show_progress_bar=False,
                verbose=False,
                compare_no_learning=False,
            )["PSNR"]
            for called_back in (False, True)
        ]
        found[name] = (float(both[0]), float(both[1]))
        print(f"{name}: {both[0]:.2f} dB, called back in torch {both[1]:.2f} dB", flush=True)
    return found


if __name__ == "__main__":
    main()
