"""Kinds of measurements, by the operator's type: what tuned settings go by."""

import enum

from reddiff_jax import operators as ops
from reddiff_jax.operators import Operator


class Kind(enum.StrEnum):
    """What an operator measures, as far as settings depend on it."""

    DENOISE = "denoise"
    INPAINT_PIXELS = "inpaint_pixels"
    INPAINT_HOLES = "inpaint_holes"
    SUPER_RESOLUTION = "super_resolution"
    DEBLUR = "deblur"
    COLORIZE = "colorize"
    DEBLUR_SATURATED = "deblur_saturated"
    DEMOSAIC = "demosaic"
    HDR = "hdr"
    JPEG = "jpeg"
    QUANTIZATION = "quantization"
    COMPRESSED_SENSING = "compressed_sensing"
    MRI = "mri"
    CT = "ct"
    PHASE_RETRIEVAL = "phase_retrieval"


_TYPES: dict[Kind, tuple[type[Operator], ...]] = {
    Kind.DENOISE: (ops.Denoising,),
    Kind.SUPER_RESOLUTION: (ops.SuperResolution, ops.Bicubic),
    Kind.DEBLUR: (ops.SeparableBlur, ops.CircularBlur, ops.PaddedBlur, ops.VaryingBlur, ops.LegacyBlur),
    Kind.COLORIZE: (ops.Colorization,),
    Kind.DEBLUR_SATURATED: (ops.SaturatedBlur, ops.NonlinearBlur),
    Kind.DEMOSAIC: (ops.Demosaicing,),
    Kind.HDR: (ops.Hdr,),
    Kind.JPEG: (ops.Jpeg,),
    Kind.QUANTIZATION: (ops.Quantization,),
    Kind.COMPRESSED_SENSING: (ops.CompressedSensing,),
    Kind.MRI: (ops.SingleCoilMri, ops.RealMri, ops.MultiCoilMri, ops.RadialMri),
    Kind.CT: (ops.ParallelCT, ops.FanCT),
    Kind.PHASE_RETRIEVAL: (ops.PhaseRetrieval,),
}
_FRAMES = (ops.Crop, ops.Pad)  # change a picture's margins, and measure nothing


def kind_of(operator: Operator) -> Kind | None:
    """What an operator measures; None for a user's own.

    A composition is of the kind of its outermost part that measures: a CT of a picture's luminance is CT, a cropped
    blur is a blur. A scaled operator is of the kind of what it scales.
    """
    if isinstance(operator, ops.Scaled | ops.LinearScaled | ops.SpectralScaled):
        return kind_of(operator.operator)
    if isinstance(operator, ops.EachSlice):
        return kind_of(operator.operator)
    if isinstance(operator, ops.Composition | ops.LinearComposition):
        return kind_of(operator.inner if isinstance(operator.outer, _FRAMES) else operator.outer)
    if isinstance(operator, ops.Inpainting):
        return Kind.INPAINT_PIXELS if operator.scattered else Kind.INPAINT_HOLES
    return next((kind for kind, types in _TYPES.items() if isinstance(operator, types)), None)
