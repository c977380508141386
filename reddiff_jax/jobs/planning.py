"""What is to be done for each picture, and what is done already.

Its pixels are read where its noise is estimated and no earlier run has noted the estimate.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax import measurements, pictures, tasks
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.framing import frame_header
from reddiff_jax.jobs.inputs import Item, own_arrays, own_file, read_kernel
from reddiff_jax.jobs.manifest import Manifest
from reddiff_jax.jobs.noise_levels import GIVEN, OF_FILE, NoiseEstimator, NoiseLevel, binned, noted_level
from reddiff_jax.jobs.options import Options
from reddiff_jax.measurements import Header, Measurement
from reddiff_jax.noise import gaussian
from reddiff_jax.problems import Problem
from reddiff_jax.settings import Settings
from reddiff_jax.tasks import Arrays, Shape


@dataclass(frozen=True)
class Plan:
    """One picture's part in a job."""

    item: Item
    header: Header
    frame: Header  # of what is restored, of which the picture is a part; mostly its own
    noise: NoiseLevel
    settings: Settings
    record: dict[str, Any]  # what must be equal for a finished picture to be kept
    outputs: tuple[str, ...]

    @property
    def group(self) -> Any:
        """What is equal for pictures that share a compilation; an estimated noise level need not be."""
        frame = replace(self.frame, sigma=0.0) if self.noise.estimated else self.frame
        return self.settings, frame, self.frame != self.header, self.noise.estimated


def make_plan(
    options: Options,
    prior_name: str,
    channels: int,
    estimator: NoiseEstimator,
    noted: Mapping[str, Mapping[str, Any]],
    item: Item,
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
    digest = hashlib.sha256(item.path.read_bytes())
    header = _header(options, channels, item)
    own = options.mask or options.kernel
    if own is not None:
        digest.update(own_file(Path(own), item.stem, "mask" if options.mask else "kernel").read_bytes())
    same = {"task": header.task, "prior": prior_name, "input": digest.hexdigest()[:16]}
    noise = noted_level(noted.get(item.name, {}), same) if options.sigma is None else None
    noise = noise or _noise_level(options, estimator, item, header)
    header = replace(header, sigma=noise.sigma)
    level = binned(noise.sigma) if noise.estimated else noise.sigma
    settings = options.settings(_shapes(options, item, header, level), header.task)
    # Other solvers may ask the operator for more than a framed one can do.
    in_frame = not options.exact_sizes and settings.plain
    frame = frame_header(header) if in_frame else header
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
    record = json.loads(json.dumps(record))  # tuples as the lists that are read back
    return Plan(item, header, frame, noise, settings, record, _output_names(item.name, options.samples))


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


def _noise_level(options: Options, estimator: NoiseEstimator, item: Item, header: Header) -> NoiseLevel:
    """The level that was given, that the measurement file says, or that the picture looks like."""
    if item.path.suffix == measurements.SUFFIX:
        return NoiseLevel(header.sigma, OF_FILE if options.sigma is None else GIVEN)
    y = pictures.read_picture(item.path, channels=header.y_shape[2])
    mask = _arrays(options, item, header).get("mask")
    mask = mask if y.shape[:2] == header.in_shape[:2] else None
    if options.sigma is None:
        return estimator.estimate(header.task, item.path, y, mask)
    # Solvers that trust sigma would undo the rounding, too: a wide blur's inverse makes large errors of it.
    sigma = max(float(options.sigma), pictures.ROUNDING_SIGMA)
    return NoiseLevel(sigma, GIVEN, estimator.doubt(sigma, header.task, item.path, y, mask))


def _shapes(options: Options, item: Item, header: Header, sigma: float) -> Problem:
    """The picture's problem as far as settings depend on it: the operator's type, a mask's numbers, the noise."""
    task, problem = tasks.by_name(header.task), tasks.example(header.task, header.in_shape[2])
    if task.needs == "mask":
        read = item.path.suffix == measurements.SUFFIX
        arrays = measurements.read_measurement(item.path).arrays if read else _arrays(options, item, header)
        operator = task.operator(header.in_shape, arrays)
        problem = Problem(jax.ShapeDtypeStruct(header.y_shape, np.float32), operator, problem.noise)  # type: ignore[arg-type]
    return replace(problem, noise=gaussian(sigma))


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
    if options.sigma is None:
        return header
    return replace(header, sigma=tasks.check_sigma(options.sigma, tasks.by_name(header.task)))


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
    y_shape = (height, width, 1 if task.gray else channels)
    in_shape = task.in_shape(y_shape, channels)
    shapes: tuple = ()
    if task.needs == "mask":
        if options.mask is None and (task.draw is None or task.drawn_from_key):
            raise JobError(f"{options.task} needs to know which pixels are missing: --mask FILE (black = missing).")
        shapes = (("mask", in_shape),)
    elif task.needs == "kernel":
        if options.kernel is None:
            raise JobError(f"{options.task} needs the blur's kernel: --kernel FILE (a picture or .npy).")
        shapes = (("kernel", _kernel_shape(own_file(Path(options.kernel), item.stem, "kernel"))),)
    return Header(options.task, 0.0, y_shape, in_shape, shapes)


@cache
def _kernel_shape(path: Path) -> tuple[int, ...]:
    return read_kernel(path).shape
