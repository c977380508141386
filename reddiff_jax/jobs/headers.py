"""What each input is, by its header: its shape, its task, and whether it brings what the task needs."""

from dataclasses import replace
from pathlib import Path

from reddiff_jax import measurements, pictures, tasks
from reddiff_jax.jobs.checks import no_mask
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.found_kernels import kernel_of
from reddiff_jax.jobs.inputs import needs_own_mask, own_kernel
from reddiff_jax.jobs.options import Options
from reddiff_jax.measurements import Header
from reddiff_jax.pictures import Form
from reddiff_jax.scans.files import SUFFIXES, suffix_of


def form_of(options: Options, item: Item) -> Form | None:
    """What the input picture is like; None for a measurement file."""
    if item.path.suffix.lower() not in pictures.SUFFIXES:
        return None
    return pictures.look(item.path, page=options.page)


def header_of(options: Options, channels: int, item: Item, form: Form | None) -> Header:
    """The header of the measurement that an input is; its noise level is 0 where only an estimate can tell.

    Raises:
        ValueError: If it cannot be restored so, in one line.
    """
    check_kind(item)
    if item.path.suffix == measurements.SUFFIX:
        return _header_of_measurement(options, channels, item.path)
    assert form is not None
    return _header_of_picture(options, channels, item, form)


def check_kind(item: Item) -> None:
    """Raises JobError for a file that, by its name, is neither a picture nor a measurement file."""
    if item.path.suffix.lower() in pictures.SUFFIXES or item.path.suffix == measurements.SUFFIX:
        return
    if suffix_of(item.path) in SUFFIXES:
        raise JobError(f"{item.path} is a scan or an array; say what of: --task mri, --task ct, or --volume.")
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
            raise no_mask(options.task)
        shapes = (("mask", in_shape),)
    elif task.needs == "kernel":
        kernel = kernel_of(options, item)
        assert kernel is not None
        shapes = (("kernel", own_kernel(kernel, item.stem).shape),)
    return Header(options.task, 0.0, y_shape, in_shape, shapes)


def _is_gray(options: Options, item: Item, form: Form) -> bool:
    """Whether a picture is gray, be it in a file of colours."""
    if form.gray:
        return True
    values = pictures.read_raw(item.path, page=options.page).values
    return bool((values == values[..., :1]).all())
