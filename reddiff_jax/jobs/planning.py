"""What is to be done for each picture.

Its pixels are read where its noise is estimated and no earlier run has noted the estimate.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import numpy as np

from reddiff_jax import measurements, pictures, tasks
from reddiff_jax.jobs.borders import Border, border_of
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.found_kernels import said_of_kernel
from reddiff_jax.jobs.framing import frame_header, framed
from reddiff_jax.jobs.headers import form_of, header_of
from reddiff_jax.jobs.inputs import arrays_of, digests_of
from reddiff_jax.jobs.noise_levels import NoiseEstimator, NoiseLevel, binned, noise_level_of, noted_level
from reddiff_jax.jobs.options import Options
from reddiff_jax.jobs.regions import Region, regions_of, whole
from reddiff_jax.jobs.results import form_of_result, output_names
from reddiff_jax.measurements import Header, Measurement
from reddiff_jax.noise import gaussian
from reddiff_jax.operators import Operator
from reddiff_jax.pictures import Form
from reddiff_jax.problems import Problem
from reddiff_jax.settings import Settings
from reddiff_jax.tasks import Arrays, Shape


@dataclass(frozen=True)
class Plan:
    """One picture's part in a job."""

    item: Item
    header: Header
    regions: tuple[Region, ...]  # what is restored of the picture: mostly all of it at once
    keeps_seen: bool  # whether pixels that were seen come back as they came
    border: Border | None  # of a blur; None: the task's own
    frame: Header  # of what is restored, of which the picture or a region is a part; mostly its own
    noise: NoiseLevel
    settings: Settings
    record: dict[str, Any]  # what must be equal for a finished picture to be kept
    asked: dict[str, Any]  # what the user has asked for, from which the record follows for given inputs
    outputs: tuple[str, ...]
    form: Form | None = None  # what the result must be like; None for a measurement file
    said: str = ""  # what was decided about its mask or kernel, in one line

    @property
    def in_regions(self) -> bool:
        """Whether only windows around the holes are restored."""
        return self.regions != (whole(self.header.in_shape),)

    @property
    def kind(self) -> tuple[Settings, Header, bool, Border | None, bool]:
        """What is equal for all that share a compilation; an estimated noise level need not be."""
        frame = replace(self.frame, sigma=0.0) if self.noise.estimated else self.frame
        is_part = self.frame != self.regions[0].header(self.header)
        return self.settings, frame, is_part, self.border, self.noise.estimated

    def pose(self, part: Measurement, shared: Operator | None = None) -> Problem:
        """The inverse problem of a region.

        Args:
            part: The region's measurement.
            shared: The operator of another picture of this kind, if pictures share one.
        """
        if self.border in (None, Border.UNKNOWN):
            return framed(part, self.frame, shared)
        return part.problem(shared or part.task.blurred(part.header.in_shape, part.arrays, self.border.boundary))


def make_plan(
    options: Options,
    prior_name: str,
    channels: int,
    item: Item,
    *,
    estimator: NoiseEstimator | None = None,
    noted: Mapping[str, Mapping[str, Any]] | None = None,
) -> Plan:
    """Looks at one input; at its mask, on which the settings depend; at its pixels, if its noise must be estimated.

    Args:
        options: How it is to be restored.
        prior_name: What identifies the prior.
        channels: Channels of the prior's pictures.
        estimator: What estimates noise levels.
        noted: Entries of the manifest so far, by name: estimates that an earlier run has noted are kept.
        item: The input.

    Raises:
        ValueError: If it cannot be restored so, in one line.
    """
    form = form_of(options, item)
    header = header_of(options, channels, item, form)
    arrays, own_mask = arrays_of(options, item, header)
    same = {"task": header.task, "prior": prior_name, **digests_of(options, item)}
    noise = noted_level((noted or {}).get(item.name, {}), same) if options.sigma is None else None
    noise = noise or noise_level_of(options, estimator or NoiseEstimator(), item, header, arrays)
    header = replace(header, sigma=noise.sigma)
    keeps_seen, regions = regions_of(options, item, header, arrays)
    in_regions = regions != (whole(header.in_shape),)
    level = binned(noise.sigma) if noise.estimated else noise.sigma
    settings = options.settings(_shapes(header, arrays, level), header.task, in_regions=in_regions)
    border, kernel = border_of(options.border, item, header, arrays)
    if border is Border.UNKNOWN and not settings.plain:
        raise JobError(
            f"{settings.name} needs to know what lay beyond the border of a blurred picture; say --border reflect, or "
            "leave --solver out."
        )
    # Other solvers may ask the operator for more than a framed one can do.
    in_frame = not options.exact_sizes and settings.plain
    frame = frame_header(regions[0].header(header), kernel, exact=not in_frame)
    settings = settings.for_shape(frame.in_shape)
    record = {
        **same,
        "sigma": header.sigma,
        "sigma_from": noise.source,
        "solver": settings.name,
        **asdict(settings),  # type: ignore[call-overload]
        "samples": options.samples,
        "seed": options.seed,
        "tile": tile_size(frame.in_shape, options.tile),
    }
    if frame != header:
        record["frame"] = frame.in_shape[:2]
    if border is not None:
        record["border"] = border
    if in_regions:
        record["regions"] = len(regions)
    bits = options.bits or (form.bits if form is not None else 8)
    record |= {"bits": bits, "white": options.white, "page": options.page}
    record |= {} if own_mask is None else own_mask.record
    record = json.loads(json.dumps(record))  # tuples as the lists that are read back
    if form is not None:
        form = form_of_result(form, header, alpha=form.alpha and (own_mask is None or options.mask is not None))
    return Plan(
        item=item,
        header=header,
        regions=regions,
        keeps_seen=keeps_seen,
        border=border,
        frame=frame,
        noise=noise,
        settings=settings,
        record=record,
        asked={**options.asked(), "prior": prior_name},
        outputs=output_names(item.name, options.samples, bits),
        form=form,
        said=_said_of_kernel(options, item, header) if own_mask is None else own_mask.said,
    )


def _said_of_kernel(options: Options, item: Item, header: Header) -> str:
    """The kernel that was found; or the size of one from a file, which shows one that was not meant."""
    if options.kernel is None:
        return said_of_kernel(options, item)
    if tasks.is_in_words(str(options.kernel)):
        return ""
    h, w = dict(header.array_shapes)["kernel"]
    return f"{options.kernel}: a kernel of {w} x {h} pixels"


def load(options: Options, channels: int, plan: Plan) -> Measurement:
    """Reads one input, and checks that it is still what it was."""
    header, path = plan.header, plan.item.path
    if path.suffix == measurements.SUFFIX:
        read = measurements.read_measurement(path)
        measurement = replace(read, header=replace(read.header, sigma=header.sigma))
    else:
        y = pictures.read(path, channels=header.y_shape[2], white=options.white, page=options.page).pixels
        arrays, _ = arrays_of(options, plan.item, header)
        if "mask" in arrays:
            arrays["mask"] = np.broadcast_to(arrays["mask"], header.in_shape)
            if y.shape == header.in_shape:
                y = y * arrays["mask"]  # what the mask hides was never seen
        measurement = measurements.make_measurement(header.task, header.sigma, y, header.in_shape, arrays)
    if measurement.header != header:
        raise JobError(f"{path} changed while it was being read; repeat the command.")
    return measurement


def _shapes(header: Header, arrays: Arrays, sigma: float) -> Problem:
    """The picture's problem as far as settings depend on it: the operator's type, a mask's numbers, the noise."""
    task, problem = tasks.by_name(header.task), tasks.example(header.task, header.in_shape[2])
    if task.needs == "mask":
        operator = task.operator(header.in_shape, arrays)
        problem = Problem(jax.ShapeDtypeStruct(header.y_shape, np.float32), operator, problem.noise)  # type: ignore[arg-type]
    return replace(problem, noise=gaussian(sigma))


def tile_size(in_shape: Shape, tile: int) -> int | None:
    """Side of a square as large as the largest tile of a picture; None if it goes through the prior whole."""
    return tile if in_shape[0] * in_shape[1] > tile**2 else None
