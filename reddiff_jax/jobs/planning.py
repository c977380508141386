"""What is to be done for each picture, and what is done already.

Its pixels are read where its noise is estimated and no earlier run has noted the estimate.
"""

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax import measurements, pictures, tasks
from reddiff_jax.jobs.borders import Border
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.framing import frame_header, framed
from reddiff_jax.jobs.inputs import OwnMask, mask_of_picture, own_arrays, own_file, own_kernel
from reddiff_jax.jobs.manifest import Manifest
from reddiff_jax.jobs.noise_levels import GIVEN, OF_FILE, NoiseEstimator, NoiseLevel, binned, noted_level
from reddiff_jax.jobs.options import Options
from reddiff_jax.jobs.outputs import not_as_written
from reddiff_jax.jobs.regions import Region, find_regions, whole
from reddiff_jax.measurements import Header, Measurement
from reddiff_jax.noise import gaussian
from reddiff_jax.operators import Operator
from reddiff_jax.pictures import Form, Picture
from reddiff_jax.problems import Problem
from reddiff_jax.settings import Settings
from reddiff_jax.tasks import Arrays, Shape, Task


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
    said: str = ""  # what was decided about its mask, in one line

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
    form = _form(options, item)
    header = _header(options, channels, item, form)
    arrays, own_mask = _arrays(options, item, header)
    same = {"task": header.task, "prior": prior_name, **_digests(options, item)}
    noise = noted_level((noted or {}).get(item.name, {}), same) if options.sigma is None else None
    noise = noise or _noise_level(options, estimator or NoiseEstimator(), item, header, arrays)
    header = replace(header, sigma=noise.sigma)
    keeps_seen, regions = _regions(options, item, header, arrays)
    in_regions = regions != (whole(header.in_shape),)
    level = binned(noise.sigma) if noise.estimated else noise.sigma
    settings = options.settings(_shapes(header, arrays, level), header.task, in_regions=in_regions)
    border, kernel = _border(options, item, header, arrays)
    if border is Border.UNKNOWN and not settings.plain:
        raise JobError(
            f"{settings.name} needs to know what lay beyond the border of a blurred picture; say --border reflect, or "
            "leave --solver out."
        )
    # Other solvers may ask the operator for more than a framed one can do.
    in_frame = not options.exact_sizes and settings.plain
    frame = frame_header(regions[0].header(header), kernel, exact=not in_frame)
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
        form = _form_of_result(form, header, alpha=form.alpha and (own_mask is None or options.mask is not None))
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
        outputs=_output_names(item.name, options.samples, bits),
        form=form,
        said="" if own_mask is None else own_mask.said,
    )


_INPUTS = ("picture", "mask", "kernel")  # digests in a record


def _digests(options: Options, item: Item) -> dict[str, str]:
    """A digest of each file that a picture is restored from, or of the words that describe its kernel."""
    contents = {"picture": item.path.read_bytes()}
    for name, given in (("mask", options.mask), ("kernel", options.kernel)):
        if given is not None:
            in_words = name == "kernel" and tasks.is_in_words(str(given))
            contents[name] = str(given).encode() if in_words else own_file(Path(given), item.stem, name).read_bytes()
    return {name: hashlib.sha256(content).hexdigest()[:16] for name, content in contents.items()}


def _form(options: Options, item: Item) -> Form | None:
    """What the input picture is like; None for a measurement file."""
    if item.path.suffix.lower() not in pictures.SUFFIXES:
        return None
    return pictures.look(item.path, page=options.page)


def _form_of_result(form: Form, header: Header, *, alpha: bool) -> Form:
    """The input's form, but of what a task adds: colours, and what was transparent."""
    if tasks.by_name(header.task).gray:  # a gray measurement of a colour picture
        return replace(form, gray=False, alpha=alpha, profile=None)
    return replace(form, alpha=alpha)


def load(options: Options, channels: int, plan: Plan) -> Measurement:
    """Reads one input, and checks that it is still what it was."""
    header, path = plan.header, plan.item.path
    if path.suffix == measurements.SUFFIX:
        read = measurements.read_measurement(path)
        measurement = replace(read, header=replace(read.header, sigma=header.sigma))
    else:
        y = pictures.read(path, channels=header.y_shape[2], white=options.white, page=options.page).pixels
        arrays, _ = _arrays(options, plan.item, header)
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

_MOST_ESTIMATED = 0.03
"""The same where nobody asked for noise to be removed: most photos saved as JPEG look like less."""


def _regions(options: Options, item: Item, header: Header, arrays: Arrays) -> tuple[bool, tuple[Region, ...]]:
    """Whether seen pixels come back as they came, and what is restored of a picture of which some are missing."""
    all_of_it = whole(header.in_shape)
    if item.path.suffix == measurements.SUFFIX or tasks.by_name(header.task).needs != "mask":
        return False, (all_of_it,)
    if header.sigma > (_MOST_ESTIMATED if options.sigma is None else _MOST_NOISE):
        return False, (all_of_it,)
    if options.exact_sizes:
        return True, (all_of_it,)
    return True, find_regions(np.asarray(arrays["mask"]), options.tile)


def _border(options: Options, item: Item, header: Header, arrays: Arrays) -> tuple[Border | None, np.ndarray | None]:
    """How a blurred picture goes on beyond its border, and the kernel where that is unknown."""
    task = tasks.by_name(header.task)
    if item.path.suffix == measurements.SUFFIX or task.kernel is None:
        return None, None
    if options.border is not Border.UNKNOWN:
        return options.border, None
    return options.border, np.asarray(task.kernel(arrays))


def _noise_level(options: Options, estimator: NoiseEstimator, item: Item, header: Header, arrays: Arrays) -> NoiseLevel:
    """The level that was given, that the measurement file says, or that the picture looks like."""
    if item.path.suffix == measurements.SUFFIX:
        return NoiseLevel(header.sigma, OF_FILE if options.sigma is None else GIVEN)
    y = pictures.read(item.path, channels=header.y_shape[2], white=options.white, page=options.page).pixels
    mask = arrays.get("mask") if y.shape[:2] == header.in_shape[:2] else None
    if options.sigma is None:
        return estimator.estimate(header.task, item.path, y, mask)
    # Solvers that trust sigma would undo the rounding, too: a wide blur's inverse makes large errors of it.
    sigma = max(float(options.sigma), pictures.ROUNDING_SIGMA)
    return NoiseLevel(sigma, GIVEN, estimator.doubt(sigma, header.task, item.path, y, mask))


def _shapes(header: Header, arrays: Arrays, sigma: float) -> Problem:
    """The picture's problem as far as settings depend on it: the operator's type, a mask's numbers, the noise."""
    task, problem = tasks.by_name(header.task), tasks.example(header.task, header.in_shape[2])
    if task.needs == "mask":
        operator = task.operator(header.in_shape, arrays)
        problem = Problem(jax.ShapeDtypeStruct(header.y_shape, np.float32), operator, problem.noise)  # type: ignore[arg-type]
    return replace(problem, noise=gaussian(sigma))


def _arrays(options: Options, item: Item, header: Header) -> tuple[Arrays, OwnMask | None]:
    """What belongs to the picture's operator, and what was decided about a mask of the user's own."""
    task = tasks.by_name(header.task)
    if item.path.suffix == measurements.SUFFIX:
        return (measurements.read_measurement(item.path).arrays if task.needs == "mask" else {}), None
    arrays, own = own_arrays(
        options.mask, options.kernel, header.in_shape, item.stem, hole=options.hole, growth=options.grow
    )
    if task.needs is None or arrays:
        return arrays, own
    if needs_own_mask(task):
        alpha = pictures.read_raw(item.path, page=options.page).alpha
        own = mask_of_picture(item.path, np.ones(1) if alpha is None else alpha, growth=options.grow)
        return {"mask": own.mask}, own
    return task.simulate(jax.random.key(0), header.in_shape), None


def needs_own_mask(task: Task) -> bool:
    """Whether only the user knows a picture's mask."""
    return task.needs == "mask" and (task.draw is None or task.drawn_from_key)


def picture_like(options: Options, plan: Plan) -> Picture | None:
    """What a result must be like, with the alpha of the input; None for that of a measurement file.

    Raises:
        ValueError: If the input cannot be read again.
    """
    if plan.form is None:
        return None
    alpha = pictures.read_raw(plan.item.path, page=options.page).alpha if plan.form.alpha else None
    form = plan.form if options.white is None else replace(plan.form, white=options.white)
    return Picture(np.zeros((0, 0, 1), np.float32), alpha, form)


def tile_size(in_shape: Shape, tile: int) -> int | None:
    """Side of the tiles in which a picture goes through the prior; None if it goes as a whole."""
    return tile if max(in_shape[:2]) > tile else None


def obstacle_of(
    plan: Plan, manifest: Manifest, out: Path, sources: Collection[Path], options: Options
) -> JobError | None:
    """What forbids to write one picture's results: an input, or a file that is not ours, in their place.

    Args:
        plan: The picture's.
        manifest: Of the output folder.
        out: The output folder.
        sources: All inputs, resolved.
        options: How it is to be restored.
    """
    for output in plan.outputs:
        if (out / output).resolve() in sources:
            return JobError(f"{out / output} would be overwritten by a result; choose another --out.")
    present = [out / output for output in plan.outputs if os.path.lexists(out / output)]
    entry = manifest.entries.get(plan.item.name)
    if options.overwrite or not present:
        return None
    if entry is None or "settings" not in entry:
        return JobError(
            f"{present[0]} exists and is none of this folder's restorations; use --overwrite or another --out."
        )
    if other := not_as_written(out, entry.get("sha256", {})):
        return JobError(
            f"{other[0]} is not what was written (damaged or edited); move it away to restore it again, or use "
            "--overwrite."
        )
    source = Path(entry.get("source", ""))
    if source.is_file() and not source.samefile(plan.item.path):
        return JobError(f"{present[0]} is of {source}, not of {plan.item.path}; use --overwrite or another --out.")
    return None


def is_finished(plan: Plan, manifest: Manifest, out: Path, *, overwrite: bool) -> bool:
    """Whether a picture's results are there, of the inputs as they are now.

    Args:
        plan: The picture's.
        manifest: Of the output folder.
        out: The output folder.
        overwrite: Whether results with other settings are not finished, rather than an error.

    Raises:
        JobError: If they are there with other settings, which are not mixed in one folder. Where an input has changed,
            settings may differ that follow from it.
    """
    entry = manifest.entries.get(plan.item.name)
    present = [(out / output).exists() for output in plan.outputs]
    if entry is None or "settings" not in entry or not any(present):
        return False
    old, new = entry["settings"], plan.record
    if changed_inputs(plan, manifest):
        old, new = entry["options"], plan.asked
    changed = [key for key in new if old.get(key) != new[key]]
    if changed and not overwrite:
        said = ", ".join(f"{key} {old.get(key)} -> {new[key]}" for key in changed[:3])
        raise JobError(
            f"{out} holds {plan.item.name} restored with other settings ({said}); use --overwrite or another --out."
        )
    return entry["status"] == "restored" and all(present) and not changed and not changed_inputs(plan, manifest)


def changed_inputs(plan: Plan, manifest: Manifest) -> list[str]:
    """Which of a finished picture's inputs are not what they were: "picture", "mask", "kernel"."""
    entry = manifest.entries.get(plan.item.name, {})
    old = entry.get("settings", {})
    if "picture" not in old or "options" not in entry:
        return []  # never restored, or by an earlier version
    return [name for name in _INPUTS if old.get(name) != plan.record.get(name)]


def is_being_overwritten(plans: Sequence[Plan], manifest: Manifest) -> bool:
    """Whether a job that does these pictures again was interrupted, and can be continued."""
    entries = [(manifest.entries.get(plan.item.name, {}), plan) for plan in plans]
    waiting = [(entry, plan) for entry, plan in entries if entry.get("overwrite") and entry["status"] in _UNFINISHED]
    return any(entry["settings"] == plan.record for entry, plan in waiting)


_UNFINISHED = ("waiting", "started")


def _output_names(name: str, samples: int, bits: int) -> tuple[str, ...]:
    """The files of one picture; a PNG cannot hold floating-point numbers."""
    suffix = "tif" if bits == pictures.FLOAT else "png"
    if samples == 1:
        return (f"{name}.{suffix}",)
    images = [f"{name}_{end}.{suffix}" for end in [*range(samples), "mean"]]
    return (*images, f"{name}_std.png", f"{name}_panel.png")


def _is_gray(options: Options, item: Item, form: Form) -> bool:
    """Whether a picture is gray, be it in a file of colours."""
    if form.gray:
        return True
    values = pictures.read_raw(item.path, page=options.page).values
    return bool((values == values[..., :1]).all())


def _header(options: Options, channels: int, item: Item, form: Form | None) -> Header:
    if item.path.suffix == measurements.SUFFIX:
        return _header_of_measurement(options, channels, item.path)
    if form is not None:
        return _header_of_picture(options, channels, item, form)
    raise JobError(f"{item.path} is neither a picture nor a measurement file; give {pictures.FORMATS} or .npz.")


def _header_of_measurement(options: Options, channels: int, path: Path) -> Header:
    header = measurements.read_header(path)
    if options.task not in (None, header.task):
        raise JobError(f"{path} was measured for {header.task}, not {options.task}; leave --task out.")
    if options.mask is not None or options.kernel is not None or options.grow is not None:
        raise JobError(f"{path} brings its own mask or kernel; leave --mask, --grow and --kernel out.")
    if header.in_shape[2] != channels:
        raise JobError(f"{path} has {header.in_shape[2]} channels but the prior {channels}; take another prior.")
    if options.sigma is None:
        return header
    return replace(header, sigma=tasks.check_sigma(options.sigma, tasks.by_name(header.task)))


def _header_of_picture(options: Options, channels: int, item: Item, form: Form) -> Header:
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
    if not task.gray and channels > 1 and _is_gray(options, item, form):
        channels = 1  # as three channels it would have the same noise in each, which no prior of colours knows
    y_shape = (form.height, form.width, 1 if task.gray else channels)
    in_shape = task.in_shape(y_shape, channels)
    shapes: tuple = ()
    if task.needs == "mask":
        if options.mask is None and needs_own_mask(task) and not form.alpha:
            raise JobError(
                f"{options.task} needs to know which pixels are missing: --mask FILE, or a picture that is transparent "
                "there."
            )
        shapes = (("mask", in_shape),)
    elif task.needs == "kernel":
        if options.kernel is None:
            raise JobError(
                f"{options.task} needs the blur's kernel: --kernel FILE (a picture or .npy) or {tasks.FORMS}."
            )
        shapes = (("kernel", own_kernel(options.kernel, item.stem).shape),)
    return Header(options.task, 0.0, y_shape, in_shape, shapes)
