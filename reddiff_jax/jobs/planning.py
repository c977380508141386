"""What is to be done for each picture, found out without reading its pixels, and what is done already."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax import measurements, pictures, tasks
from reddiff_jax.jobs.borders import Border
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.framing import frame_header, framed
from reddiff_jax.jobs.inputs import Item, own_arrays, own_bytes, own_kernel
from reddiff_jax.jobs.manifest import Manifest
from reddiff_jax.jobs.options import Options
from reddiff_jax.jobs.regions import Region, find_regions, whole
from reddiff_jax.measurements import Header, Measurement
from reddiff_jax.noise import gaussian
from reddiff_jax.operators import Operator
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
    settings: Settings
    record: dict[str, Any]  # what must be equal for a finished picture to be kept
    outputs: tuple[str, ...]

    @property
    def in_regions(self) -> bool:
        """Whether only windows around the holes are restored."""
        return self.regions != (whole(self.header.in_shape),)

    @property
    def kind(self) -> tuple[Settings, Header, bool, Border | None]:
        """What is equal for all that share a compilation."""
        return self.settings, self.frame, self.frame != self.regions[0].header(self.header), self.border

    def pose(self, part: Measurement, shared: Operator | None = None) -> Problem:
        """The inverse problem of a region.

        Args:
            part: The region's measurement.
            shared: The operator of another picture of this kind, if pictures share one.
        """
        if self.border in (None, Border.UNKNOWN):
            return framed(part, self.frame, shared)
        return part.problem(shared or part.task.blurred(part.header.in_shape, part.arrays, self.border.boundary))


def make_plan(options: Options, prior_name: str, channels: int, item: Item) -> Plan:
    """Looks at one input without reading its pixels; at its mask, on which the settings depend.

    Args:
        options: How it is to be restored.
        prior_name: What identifies the prior.
        channels: Channels of the prior's pictures.
        item: The input.

    Raises:
        ValueError: If it cannot be restored so, in one line.
    """
    digest = hashlib.sha256(item.path.read_bytes())
    header = _header(options, channels, item)
    digest.update(own_bytes(options.mask, options.kernel, item.stem))
    keeps_seen, regions = _regions(options, item, header)
    in_regions = regions != (whole(header.in_shape),)
    settings = options.settings(_shapes(options, item, header), header.task, in_regions=in_regions)
    border, kernel = _border(options, item, header)
    if border is Border.UNKNOWN and not settings.plain:
        raise JobError(
            f"{settings.name} needs to know what lay beyond the border of a blurred picture; say --border reflect, or "
            "leave --solver out."
        )
    # Other solvers may ask the operator for more than a framed one can do.
    in_frame = not options.exact_sizes and settings.plain
    frame = frame_header(regions[0].header(header), kernel, exact=not in_frame)
    record = {
        "task": header.task,
        "sigma": header.sigma,
        "solver": settings.name,
        **asdict(settings),  # type: ignore[call-overload]
        "prior": prior_name,
        "samples": options.samples,
        "seed": options.seed,
        "tile": tile_size(frame.in_shape, options.tile),
        "input": digest.hexdigest()[:16],
    }
    if frame != header:
        record["frame"] = frame.in_shape[:2]
    if border is not None:
        record["border"] = border
    if in_regions:
        record["regions"] = len(regions)
    record = json.loads(json.dumps(record))  # tuples as the lists that are read back
    outputs = _output_names(item.name, options.samples)
    return Plan(item, header, regions, keeps_seen, border, frame, settings, record, outputs)


def load(options: Options, channels: int, plan: Plan) -> Measurement:
    """Reads one input, and checks that it is still what it was."""
    header, path = plan.header, plan.item.path
    if path.suffix == measurements.SUFFIX:
        read = measurements.read_measurement(path)
        measurement = replace(read, header=replace(read.header, sigma=header.sigma))
    else:
        y = pictures.read_picture(path, channels=header.y_shape[2])
        arrays = _arrays(options, plan.item, header)
        if "mask" in arrays:
            arrays["mask"] = np.broadcast_to(arrays["mask"], header.in_shape)
            if y.shape == header.in_shape:
                y = y * arrays["mask"]  # what the mask hides was never seen
        measurement = measurements.make_measurement(header.task, header.sigma, y, header.in_shape, arrays)
    if measurement.header != header:
        raise JobError(f"{path} changed while it was being read; repeat the command.")
    return measurement


_MOST_NOISE = 2 * pictures.ROUNDING_SIGMA
"""Noise that is left where it was seen: what is above is to be removed from all of the picture."""


def _regions(options: Options, item: Item, header: Header) -> tuple[bool, tuple[Region, ...]]:
    """Whether seen pixels come back as they came, and what is restored of a picture of which some are missing."""
    all_of_it = whole(header.in_shape)
    if item.path.suffix == measurements.SUFFIX or tasks.by_name(header.task).needs != "mask":
        return False, (all_of_it,)
    if header.sigma > _MOST_NOISE:
        return False, (all_of_it,)
    if options.exact_sizes:
        return True, (all_of_it,)
    return True, find_regions(_arrays(options, item, header)["mask"], options.tile)


def _border(options: Options, item: Item, header: Header) -> tuple[Border | None, np.ndarray | None]:
    """How a blurred picture goes on beyond its border, and the kernel where that is unknown."""
    task = tasks.by_name(header.task)
    if item.path.suffix == measurements.SUFFIX or task.kernel is None:
        return None, None
    if options.border is not Border.UNKNOWN:
        return options.border, None
    return options.border, np.asarray(task.kernel(_arrays(options, item, header)))


def _shapes(options: Options, item: Item, header: Header) -> Problem:
    """The picture's problem as far as settings depend on it: the operator's type, a mask's numbers, the noise."""
    task, problem = tasks.by_name(header.task), tasks.example(header.task, header.in_shape[2])
    if task.needs == "mask":
        read = item.path.suffix == measurements.SUFFIX
        arrays = measurements.read_measurement(item.path).arrays if read else _arrays(options, item, header)
        operator = task.operator(header.in_shape, arrays)
        problem = Problem(jax.ShapeDtypeStruct(header.y_shape, np.float32), operator, problem.noise)  # type: ignore[arg-type]
    return replace(problem, noise=gaussian(header.sigma))


def _arrays(options: Options, item: Item, header: Header) -> Arrays:
    """What belongs to the operator of a picture that is no measurement file."""
    arrays = own_arrays(options.mask, options.kernel, header.in_shape, item.stem)
    if tasks.by_name(header.task).needs is not None and not arrays:
        return tasks.by_name(header.task).simulate(jax.random.key(0), header.in_shape)
    return arrays


def tile_size(in_shape: Shape, tile: int) -> int | None:
    """Side of the tiles in which a picture goes through the prior; None if it goes as a whole."""
    return tile if max(in_shape[:2]) > tile else None


def check_not_onto_inputs(items: Sequence[Item], out: Path, samples: int) -> None:
    """Raises JobError if a result would be written over an input."""
    sources = {item.path.resolve(): item.path for item in items}
    for item in items:
        for output in _output_names(item.name, samples):
            target = (out / output).resolve()
            if target in sources:
                raise JobError(f"{sources[target]} would be overwritten by a result; choose another --out.")


def is_finished(plan: Plan, manifest: Manifest, out: Path, *, overwrite: bool) -> bool:
    """Whether a picture's results are there; refuses to mix settings or to overwrite what is not ours."""
    present = [(out / output).exists() for output in plan.outputs]
    if overwrite or not any(present):
        return False
    entry = manifest.entries.get(plan.item.name)
    if entry is None or "settings" not in entry:
        raise JobError(
            f"{out / plan.outputs[present.index(True)]} exists and is none of this folder's restorations; "
            "use --overwrite or another --out."
        )
    old, new = entry["settings"], plan.record
    if old != new:
        changed = [key for key in new if old.get(key) != new[key]]
        said = ", ".join(f"{key} {old.get(key)} -> {new[key]}" for key in changed[:3])
        raise JobError(
            f"{out} holds {plan.item.name} restored with other settings ({said}); use --overwrite or another --out."
        )
    return entry["status"] == "restored" and all(present)


def _output_names(name: str, samples: int) -> tuple[str, ...]:
    if samples == 1:
        return (f"{name}.png",)
    return tuple(f"{name}_{end}.png" for end in [*range(samples), "mean", "std", "panel"])


def _header(options: Options, channels: int, item: Item) -> Header:
    if item.path.suffix == measurements.SUFFIX:
        return _header_of_measurement(options, channels, item.path)
    if item.path.suffix.lower() in pictures.SUFFIXES:
        return _header_of_picture(options, channels, item)
    raise JobError(f"{item.path} is neither a picture nor a measurement file.")


def _header_of_measurement(options: Options, channels: int, path: Path) -> Header:
    header = measurements.read_header(path)
    if options.task not in (None, header.task):
        raise JobError(f"{path} was measured for {header.task}, not {options.task}; leave --task out.")
    if options.mask is not None or options.kernel is not None:
        raise JobError(f"{path} brings its own mask or kernel; leave --mask and --kernel out.")
    if header.in_shape[2] != channels:
        raise JobError(f"{path} has {header.in_shape[2]} channels but the prior {channels}; take another prior.")
    return header if options.sigma is None else replace(header, sigma=float(options.sigma))


def _header_of_picture(options: Options, channels: int, item: Item) -> Header:
    height, width = pictures.picture_size(item.path)
    if options.task is None:
        raise JobError(f"{item.path} is a picture, so the task must be said: --task, one of {', '.join(tasks.TASKS)}.")
    task = tasks.by_name(options.task)
    if not task.is_picture:
        raise JobError(
            f"{item.path} is a picture, but what {options.task} measures is none: give a measurement file "
            "(reddiff-jax measure simulates one)."
        )
    if task.gray and channels == 1:
        raise JobError(f"{options.task} needs a prior of colour pictures.")
    sigma = 0.0 if options.sigma is None else float(options.sigma)
    if options.task == "denoise" and sigma == 0:
        raise JobError("denoise needs the noise's standard deviation, for pixels in [-1, 1]: --sigma 0.1, say.")
    # Solvers that trust sigma would undo the rounding, too: a wide blur's inverse makes large errors of it.
    sigma = max(sigma, pictures.ROUNDING_SIGMA)
    y_shape = (height, width, 1 if task.gray else channels)
    in_shape = task.in_shape(y_shape, channels)
    shapes: tuple = ()
    if task.needs == "mask":
        if options.mask is None and (task.draw is None or task.drawn_from_key):
            raise JobError(f"{options.task} needs to know which pixels are missing: --mask FILE (black = missing).")
        shapes = (("mask", in_shape),)
    elif task.needs == "kernel":
        if options.kernel is None:
            raise JobError(
                f"{options.task} needs the blur's kernel: --kernel FILE (a picture or .npy) or {tasks.FORMS}."
            )
        shapes = (("kernel", own_kernel(options.kernel, item.stem).shape),)
    return Header(options.task, sigma, y_shape, in_shape, shapes)
