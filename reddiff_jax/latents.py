"""Latent priors: a prior of z, and the autoencoder that makes pictures of it.

The unknown is z, its measurement ``y = A(decode(z)) + noise``, and the restored picture ``decode(z)``. So every solver
serves: a prior of z instead of one of x, and the operator ``A . decode`` instead of A. It differs from
``rd.parametrised``, where the unknown is z, too, but the prior is one of the picture.

An autoencoder is shared by all images, like a prior. ``rd.latent_solver(solver, latent)`` holds it in the solver and
takes problems in pixels, so that batches and jobs are what they are for priors of pixels; ``problem.through(latent)``
is the layer below, for one problem.
"""

from typing import Any

from flax import struct

from reddiff_jax._checks import check_type
from reddiff_jax._repr import Repr
from reddiff_jax._types import Image
from reddiff_jax.autoencoders import Autoencoder
from reddiff_jax.priors import Prior, check_prior


@struct.dataclass
class Latent(Repr):
    """A prior of latents and their autoencoder; build it with ``latent``."""

    prior: Prior
    autoencoder: Autoencoder

    def encode(self, x: Image) -> Any:
        """The latent (h, w, c) of a picture (H, W, C) in [-1, 1]."""
        return self.autoencoder.encode(x)

    def decode(self, z: Any) -> Image:
        """The picture of a latent."""
        return self.autoencoder.decode(z)


def latent(prior: Prior, autoencoder: Autoencoder) -> Latent:
    """A prior of latents with the autoencoder that makes pictures of them.

    ``solver = rd.latent_solver(rd.noise_aware(latent.prior, rd.pixel_step()), latent)`` restores pictures, and so does
    ``rd.default_solver(latent, problem)``.

    Args:
        prior: Diffusion prior of z.
        autoencoder: What ``rd.autoencoder``, ``rd.linear_autoencoder`` or ``rd.net_autoencoder`` gives.

    Raises:
        TypeError: If an argument is of another type.
    """
    check_prior("latent", prior)
    needed = "an Autoencoder, such as rd.autoencoder(encode, decode, in_shape); the order is latent(prior, autoencoder)"
    check_type("latent: autoencoder", autoencoder, Autoencoder, needed)
    return Latent(prior, autoencoder)


def image_channels(prior: Prior | Latent) -> int | None:
    """Channels of a prior's pictures, as far as it says; None if any."""
    if isinstance(prior, Latent):
        return prior.autoencoder.channels
    channels = getattr(getattr(prior, "net", None), "in_channels", None)
    return None if channels is None else int(channels)
