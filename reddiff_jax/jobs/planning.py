"""What is to be done for each picture, found out without reading its pixels, and what is done already."""

import hashlib
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax import measurements, pictures, tasks
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.framing import frame_header
from reddiff_jax.jobs.inputs import OwnMask, mask_of_picture, own_arrays, own_file, read_kernel
from reddiff_jax.jobs.manifest import Manifest
from reddiff_jax.jobs.options import Options
from reddiff_jax.jobs.outputs import not_as_written
from reddiff_jax.measurements import Header, Measurement
from reddiff_jax.noise import gaussian
from reddiff_jax.pictures import Form, Picture
from reddiff_jax.problems import Problem
from reddiff_jax.settings import Settings
from reddiff_jax.tasks import Arrays, Shape, Task


@dataclass(frozen=True)
class Plan:
    """One picture's part in a job."""

    item: Item
    header: Header
    frame: Header  # of what is restored, of which the picture is a part; mostly its own
    settings: Settings
    record: dict[str, Any]  # what must be equal for a finished picture to be kept
    asked: dict[str, Any]  # what the user has asked for, from which the record follows for given inputs
    outputs: tuple[str, ...]
    form: Form | None = None  # what the result must be like; None for a measurement file
    said: str = ""  # what was decided about its mask, in one line


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
    form = _form(options, item)
    header = _header(options, channels, item, form)
    arrays, own_mask = _arrays(options, item, header)
    settings = options.settings(_shapes(header, arrays), header.task)
    # Other solvers may ask the operator for more than a framed one can do.
    in_frame = not options.exact_sizes and settings.plain
    frame = frame_header(header) if in_frame else header
    record = {
        "task": header.task,
        "sigma": header.sigma,
        "solver": settings.name,
        **asdict(settings),  # type: ignore[call-overload]
        "prior": prior_name,
        "samples": options.samples,
        "seed": options.seed,
        "tile": tile_size(frame.in_shape, options.tile),
        **_digests(options, item),
    }
    if frame != header:
        record["frame"] = frame.in_shape[:2]
    bits = options.bits or (form.bits if form is not None else 8)
    record |= {"bits": bits, "white": options.white, "page": options.page}
    record |= {} if own_mask is None else own_mask.record
    record = json.loads(json.dumps(record))  # tuples as the lists that are read back
    asked = {**options.asked(), "prior": prior_name}
    if form is not None:
        form = _form_of_result(form, header, alpha=form.alpha and (own_mask is None or options.mask is not None))
    said = "" if own_mask is None else own_mask.said
    return Plan(
        item, header, frame, settings, record, asked, _output_names(item.name, options.samples, bits), form, said
    )


_INPUTS = ("picture", "mask", "kernel")  # digests in a record


def _digests(options: Options, item: Item) -> dict[str, str]:
    """A digest of each file that a picture is restored from."""
    files = {"picture": item.path}
    for name, given in (("mask", options.mask), ("kernel", options.kernel)):
        if given is not None:
            files[name] = own_file(Path(given), item.stem, name)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in files.items()}


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


def _shapes(header: Header, arrays: Arrays) -> Problem:
    """The picture's problem as far as settings depend on it: the operator's type, a mask's numbers, the noise."""
    task, problem = tasks.by_name(header.task), tasks.example(header.task, header.in_shape[2])
    if task.needs == "mask":
        operator = task.operator(header.in_shape, arrays)
        problem = Problem(jax.ShapeDtypeStruct(header.y_shape, np.float32), operator, problem.noise)  # type: ignore[arg-type]
    return replace(problem, noise=gaussian(header.sigma))


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
    return header if options.sigma is None else replace(header, sigma=float(options.sigma))


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
    sigma = 0.0 if options.sigma is None else float(options.sigma)
    if options.task == "denoise" and sigma == 0:
        raise JobError("denoise needs the noise's standard deviation, for pixels in [-1, 1]: --sigma 0.1, say.")
    # Solvers that trust sigma would undo the rounding, too: a wide blur's inverse makes large errors of it.
    sigma = max(sigma, pictures.ROUNDING_SIGMA)
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
            raise JobError(f"{options.task} needs the blur's kernel: --kernel FILE (a picture or .npy).")
        shapes = (("kernel", _kernel_shape(own_file(Path(options.kernel), item.stem, "kernel"))),)
    return Header(options.task, sigma, y_shape, in_shape, shapes)


@cache
def _kernel_shape(path: Path) -> tuple[int, ...]:
    return read_kernel(path).shape
