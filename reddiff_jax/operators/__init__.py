"""Measurement operators: what turns an image into a measurement, with adjoints and pseudo-inverses."""

from reddiff_jax.operators._base import Composition as Composition
from reddiff_jax.operators._base import LinearComposition as LinearComposition
from reddiff_jax.operators._base import LinearOperator as LinearOperator
from reddiff_jax.operators._base import LinearScaled as LinearScaled
from reddiff_jax.operators._base import Operator as Operator
from reddiff_jax.operators._base import ProximalOperator as ProximalOperator
from reddiff_jax.operators._base import SaturatingOperator as SaturatingOperator
from reddiff_jax.operators._base import Scaled as Scaled
from reddiff_jax.operators._base import SpectralOperator as SpectralOperator
from reddiff_jax.operators._base import SpectralScaled as SpectralScaled
from reddiff_jax.operators._base import compose as compose
from reddiff_jax.operators._base import measurement as measurement
from reddiff_jax.operators._base import scale as scale
from reddiff_jax.operators._tomography import RampWindow as RampWindow
from reddiff_jax.operators._tomography import view_angles as view_angles
from reddiff_jax.operators.blur import CircularBlur as CircularBlur
from reddiff_jax.operators.blur import PaddedBlur as PaddedBlur
from reddiff_jax.operators.blur import SeparableBlur as SeparableBlur
from reddiff_jax.operators.blur import blur as blur
from reddiff_jax.operators.blur import gaussian_blur as gaussian_blur
from reddiff_jax.operators.blur import motion_blur as motion_blur
from reddiff_jax.operators.blur import uniform_blur as uniform_blur
from reddiff_jax.operators.boundaries import Boundary as Boundary
from reddiff_jax.operators.channels import on_channels as on_channels
from reddiff_jax.operators.colorization import Colorization as Colorization
from reddiff_jax.operators.colorization import colorization as colorization
from reddiff_jax.operators.compressed_sensing import CompressedSensing as CompressedSensing
from reddiff_jax.operators.compressed_sensing import compressed_sensing as compressed_sensing
from reddiff_jax.operators.compressed_sensing import gaussian_sensing as gaussian_sensing
from reddiff_jax.operators.cropping import Crop as Crop
from reddiff_jax.operators.cropping import Pad as Pad
from reddiff_jax.operators.cropping import crop as crop
from reddiff_jax.operators.cropping import pad as pad
from reddiff_jax.operators.ct import FanCT as FanCT
from reddiff_jax.operators.ct import ParallelCT as ParallelCT
from reddiff_jax.operators.ct import fan_ct as fan_ct
from reddiff_jax.operators.ct import parallel_ct as parallel_ct
from reddiff_jax.operators.custom import FunctionOperator as FunctionOperator
from reddiff_jax.operators.custom import LinearFunctionOperator as LinearFunctionOperator
from reddiff_jax.operators.custom import linear_operator as linear_operator
from reddiff_jax.operators.custom import operator as operator
from reddiff_jax.operators.decoded import Decoded as Decoded
from reddiff_jax.operators.decoded import Decoding as Decoding
from reddiff_jax.operators.decoded import LinearDecoded as LinearDecoded
from reddiff_jax.operators.decoded import SpectralDecoded as SpectralDecoded
from reddiff_jax.operators.decoded import decoded as decoded
from reddiff_jax.operators.demosaicing import X_TRANS as X_TRANS
from reddiff_jax.operators.demosaicing import Demosaicing as Demosaicing
from reddiff_jax.operators.demosaicing import demosaicing as demosaicing
from reddiff_jax.operators.denoising import Denoising as Denoising
from reddiff_jax.operators.denoising import denoising as denoising
from reddiff_jax.operators.each_slice import EachSlice as EachSlice
from reddiff_jax.operators.each_slice import each_slice as each_slice
from reddiff_jax.operators.hdr import Hdr as Hdr
from reddiff_jax.operators.hdr import hdr as hdr
from reddiff_jax.operators.inpainting import Inpainting as Inpainting
from reddiff_jax.operators.inpainting import inpainting as inpainting
from reddiff_jax.operators.jpeg import Jpeg as Jpeg
from reddiff_jax.operators.jpeg import jpeg as jpeg
from reddiff_jax.operators.kspace import coil_maps as coil_maps
from reddiff_jax.operators.kspace import radial_trajectory as radial_trajectory
from reddiff_jax.operators.legacy_blur import LegacyBlur as LegacyBlur
from reddiff_jax.operators.legacy_blur import legacy_gaussian_blur as legacy_gaussian_blur
from reddiff_jax.operators.legacy_blur import legacy_uniform_blur as legacy_uniform_blur
from reddiff_jax.operators.matrix import MatrixOperator as MatrixOperator
from reddiff_jax.operators.matrix import matrix_operator as matrix_operator
from reddiff_jax.operators.mri import MultiCoilMri as MultiCoilMri
from reddiff_jax.operators.mri import RealMri as RealMri
from reddiff_jax.operators.mri import SingleCoilMri as SingleCoilMri
from reddiff_jax.operators.mri import mri as mri
from reddiff_jax.operators.nonlinear_blur import NonlinearBlur as NonlinearBlur
from reddiff_jax.operators.nonlinear_blur import nonlinear_blur as nonlinear_blur
from reddiff_jax.operators.phase_retrieval import PhaseRetrieval as PhaseRetrieval
from reddiff_jax.operators.phase_retrieval import phase_retrieval as phase_retrieval
from reddiff_jax.operators.quantization import Quantization as Quantization
from reddiff_jax.operators.quantization import quantization as quantization
from reddiff_jax.operators.radial_mri import RadialMri as RadialMri
from reddiff_jax.operators.radial_mri import radial_mri as radial_mri
from reddiff_jax.operators.saturated_blur import SaturatedBlur as SaturatedBlur
from reddiff_jax.operators.saturated_blur import saturated_blur as saturated_blur
from reddiff_jax.operators.stacking import LinearStacked as LinearStacked
from reddiff_jax.operators.stacking import Stacked as Stacked
from reddiff_jax.operators.stacking import stacked as stacked
from reddiff_jax.operators.super_resolution import Bicubic as Bicubic
from reddiff_jax.operators.super_resolution import SuperResolution as SuperResolution
from reddiff_jax.operators.super_resolution import bicubic as bicubic
from reddiff_jax.operators.super_resolution import super_resolution as super_resolution
from reddiff_jax.operators.varying_blur import VaryingBlur as VaryingBlur
from reddiff_jax.operators.varying_blur import grid_weights as grid_weights
from reddiff_jax.operators.varying_blur import varying_blur as varying_blur
from reddiff_jax.operators.warping import Warping as Warping
from reddiff_jax.operators.warping import warping as warping

# What is public at the top level, too: `rd.NAME`.
__all__ = [
    "LinearOperator",
    "Operator",
    "SpectralOperator",
    "bicubic",
    "blur",
    "coil_maps",
    "colorization",
    "compose",
    "compressed_sensing",
    "demosaicing",
    "denoising",
    "each_slice",
    "fan_ct",
    "gaussian_blur",
    "gaussian_sensing",
    "grid_weights",
    "hdr",
    "inpainting",
    "jpeg",
    "linear_operator",
    "matrix_operator",
    "motion_blur",
    "mri",
    "nonlinear_blur",
    "on_channels",
    "operator",
    "parallel_ct",
    "phase_retrieval",
    "quantization",
    "radial_mri",
    "radial_trajectory",
    "saturated_blur",
    "stacked",
    "super_resolution",
    "uniform_blur",
    "varying_blur",
    "view_angles",
    "warping",
]
