"""What a latent is measured as: the measurement of its picture."""

import jax
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax.autoencoders import Autoencoder, LinearAutoencoder, OrthonormalAutoencoder, serving
from reddiff_jax.operators._base import LinearOperator, Operator, SpectralOperator


class Decoding:
    """What all three share: ``y = operator(decode(z))``."""

    operator: Operator
    autoencoder: Autoencoder

    def __call__(self, z: Float[Array, "h w c"]) -> Array:
        """Measures the picture of one latent."""
        return self.operator(self.decode(z))

    def decode(self, z: Float[Array, "h w c"]) -> Float[Array, "H W C"]:
        """The picture of a latent, of the size that is measured."""
        h, w, _ = self.operator.in_shape
        return self.autoencoder.decode(z)[:h, :w]

    def encode(self, x: Float[Array, "H W C"]) -> Float[Array, "h w c"]:
        """The latent of a picture."""
        return self.autoencoder.encode(x)

    def pinv(self, y: Array) -> Float[Array, "h w c"]:
        """The latent of the picture that explains ``y``."""
        return self.encode(self.operator.pinv(y))

    @property
    def observed(self) -> Array | None:
        """The operator's."""
        return self.operator.observed


@struct.dataclass
class Decoded(Decoding, Operator):
    """``y = operator(decode(z))``; build it with ``decoded``."""

    operator: Operator
    autoencoder: Autoencoder


@struct.dataclass
class LinearDecoded(Decoding, LinearOperator):
    """``y = operator(decode(z))`` of a linear operator and decoder; build it with ``decoded``."""

    operator: LinearOperator
    autoencoder: LinearAutoencoder

    def adjoint(self, y: Array) -> Float[Array, "h w c"]:
        """Applies the adjoints in the other order."""
        x = self.operator.adjoint(y)
        (z,) = jax.linear_transpose(self.decode, jax.ShapeDtypeStruct(self.in_shape, x.dtype))(x)
        return z


@struct.dataclass
class SpectralDecoded(Decoding, SpectralOperator):
    """``y = operator(decode(z))`` of an operator with an SVD and an orthonormal decoder; build it with ``decoded``."""

    operator: SpectralOperator
    autoencoder: OrthonormalAutoencoder

    @property
    def rcond(self) -> float:  # type: ignore[override]
        """The operator's."""
        return self.operator.rcond

    @property
    def singulars(self) -> Array:
        """The operator's: a change of basis has none of its own."""
        return self.operator.singulars

    def Vt(self, x: Float[Array, "h w c"]) -> Array:
        """Latent to coefficients."""
        return self.operator.Vt(self.decode(x))

    def V(self, coefficients: Array) -> Float[Array, "h w c"]:
        """Coefficients to latent."""
        return self.encode(self.operator.V(coefficients))

    def Ut(self, y: Array) -> Array:
        """Measurement to coefficients."""
        return self.operator.Ut(y)

    def U(self, coefficients: Array) -> Array:
        """Coefficients to measurement."""
        return self.operator.U(coefficients)


def decoded(operator: Operator, autoencoder: Autoencoder) -> Decoded | LinearDecoded | SpectralDecoded:
    """The operator over latents: ``y = operator(decode(z))``.

    It is linear if both are, and keeps an SVD if the decoder is orthonormal.

    Raises:
        ValueError: If the autoencoder does not serve the operator's images.
    """
    if len(operator.in_shape) != 3:
        raise ValueError(
            f"latents are those of one image (H, W, C), but {type(operator).__name__} takes {operator.in_shape}; take "
            "a prior of pixels for volumes."
        )
    autoencoder = serving(autoencoder, operator.in_shape[2])
    plain = autoencoder.scale is None
    kind = Decoded
    if isinstance(autoencoder, OrthonormalAutoencoder) and isinstance(operator, SpectralOperator) and plain:
        kind = SpectralDecoded
    elif isinstance(autoencoder, LinearAutoencoder) and isinstance(operator, LinearOperator):
        kind = LinearDecoded
    in_shape = autoencoder.latent_shape(operator.in_shape)
    return kind(in_shape=in_shape, operator=operator, autoencoder=autoencoder)  # type: ignore[arg-type]
