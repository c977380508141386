"""Settings of denoising by Tweedie's formula."""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self

from reddiff_jax.operators import Operator
from reddiff_jax.settings.base import Settings, default_of
from reddiff_jax.settings.noise_aware import NoiseAwareSettings
from reddiff_jax.solvers import tweedie
from reddiff_jax.solvers.tweedie import NUM_MIRRORED, NUM_VIEWS


@dataclass(frozen=True)
class TweedieSettings(Settings):
    """Settings of denoising by Tweedie's formula; see ``reddiff_jax.tweedie``. There is nothing to tune."""

    num_steps: int = default_of(tweedie, "num_steps")

    name = "tweedie"
    factory = staticmethod(tweedie)
    help = "the posterior mean in one evaluation a view; denoising, Gaussian noise"
    plain = True
    space = MappingProxyType({})

    def __post_init__(self):
        super().__post_init__()
        if self.num_steps > NUM_VIEWS:
            raise ValueError(
                f"steps is {self.num_steps} but must be from 1 to {NUM_VIEWS}: denoising takes one step for each "
                f"mirrored view of the picture. Leave out --steps, or choose another solver."
            )

    def spending(self, evaluations: int) -> Self:
        """The same with as many views as that number of evaluations allows, and there are."""
        return replace(self, num_steps=min(evaluations, self.num_steps))

    def drawing(self) -> NoiseAwareSettings:
        """The settings of noise-aware RED-diff's samples: a posterior mean is none."""
        return NoiseAwareSettings().drawing()

    def for_shape(self, in_shape: tuple[int, int, int]) -> Self:
        """Mirrored views alone for pictures that are not square."""
        height, width, _ = in_shape
        return self if height == width else replace(self, num_steps=min(self.num_steps, NUM_MIRRORED))

    def fitted(self, operator: Operator) -> Self:
        """The settings for pictures of the operator's shape."""
        return super().fitted(operator).for_shape(operator.in_shape)
