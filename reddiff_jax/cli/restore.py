"""`reddiff-jax restore`: degraded pictures and measurement files."""

from pathlib import Path
from typing import Annotated

import typer

from reddiff_jax._caches import cache_folder
from reddiff_jax.cli._common import (
    SIGMA,
    KernelOption,
    MaskOption,
    OutOption,
    PriorOption,
    SeedOption,
    SolverOption,
    check_exist,
    check_found,
    conclude,
    load_prior,
    parse_sigma,
    progress_bar,
    summarise,
)
from reddiff_jax.cli._early import check_asked, check_border
from reddiff_jax.cli._errors import Stopped, UserError
from reddiff_jax.cli._names import check_names
from reddiff_jax.cli._pictures import (
    BitsOption,
    GrowOption,
    HoleOption,
    PageOption,
    WhiteOption,
    check_hole,
    parse_bits,
    parse_hole,
)
from reddiff_jax.cli._processes import ProcessesOption, ProcessOption, choose_share, parse_batch_size, use_cores
from reddiff_jax.cli._scans import (
    CLIPS,
    AnglesOption,
    CenterOption,
    LamZOption,
    LayoutOption,
    MotionOption,
    VolumeOption,
    restore_scans,
)
from reddiff_jax.cli._scans import TASKS as SCAN_TASKS
from reddiff_jax.cli._stopping import Stopping
from reddiff_jax.cli._told import Told


def restore(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Degraded pictures, clips, measurement files, or folders of them.", show_default=False),
    ],
    out: OutOption,
    task: Annotated[
        str | None,
        typer.Option(
            help="What to undo; `reddiff-jax info` lists the tasks. Measurement files say it themselves. `mri` and "
            "`ct` restore scans as instruments write them."
        ),
    ] = None,
    mask: MaskOption = None,
    hole: HoleOption = "auto",
    grow: GrowOption = None,
    kernel: KernelOption = None,
    border: Annotated[
        str,
        typer.Option(
            help="What lay beyond the border of a blurred picture: unknown, as around every photo; or how the blur "
            "continued it: reflect, symmetric, edge, zero, circular. Measurement files have their task's."
        ),
    ] = "unknown",
    sigma: Annotated[
        str,
        typer.Option(
            help=f"{SIGMA} At least 0.0023 for pictures, that of rounding to 8 bits. `auto`: what a measurement file "
            "says, and what a picture looks like.",
        ),
    ] = "auto",
    white: WhiteOption = None,
    page: PageOption = None,
    bits: BitsOption = None,
    angles: AnglesOption = None,
    center: CenterOption = None,
    layout: LayoutOption = "astra",
    volume: VolumeOption = False,
    lam_z: LamZOption = 0.0,
    motion: MotionOption = False,
    prior: PriorOption = None,
    solver: SolverOption = None,
    settings: Annotated[
        Path | None, typer.Option(help="File of tuned settings (reddiff-jax tune).", show_default="built-in")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps, 1 to 1000.", show_default="tuned")] = None,
    lam: Annotated[float | None, typer.Option(help="Weight of the prior.", show_default="tuned")] = None,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate; only `--solver reddiff` has one.", show_default="tuned")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Another setting of the solver, e.g. scale=0.3; repeat it."),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            help="Restorations of each picture: draws from the posterior by noise_aware where the operator is linear; "
            "with `--set sample=false`, or by reddiff, they differ little."
        ),
    ] = 1,
    batch_size: Annotated[
        str, typer.Option(help="Pictures restored at once; `auto` finds what is fastest and fits, and remembers it.")
    ] = "4",
    seed: SeedOption = 0,
    tile: Annotated[
        int, typer.Option(help="Pictures larger than a square of this side go through the prior in overlapping tiles.")
    ] = 512,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what OUT holds already.")] = False,
    exact_sizes: Annotated[
        bool,
        typer.Option(
            "--exact-sizes",
            help="Compile for each size of picture, restored whole; by default odd sizes share larger frames, and of "
            "pictures of which little is missing only the regions around it are restored.",
        ),
    ] = False,
    log: Annotated[
        Path | None, typer.Option(help="File for the solver's scalars: a JSON line for each step of each picture.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for the same in TensorBoard, a run for each picture.")
    ] = None,
    film: Annotated[
        int, typer.Option(help="Frames of a film of the first picture, or its first region: NAME_film.gif and .png.")
    ] = 0,
    processes: ProcessesOption = None,
    process: ProcessOption = None,
) -> None:
    """Restores pictures: OUT/NAME.png for each input, and OUT/manifest.jsonl.

    Bits, grayness, alpha, colour profile and EXIF of a picture come out as they came in; floating-point pictures as
    OUT/NAME.tif. A photo with transparent pixels is its own mask for `--task inpaint`.

    Settings are tuned for what is measured and the noise level, and are printed. Killed and started again with the same
    options, it continues and gives the same files, bit for bit on the same devices. SIGTERM ends it after the batch
    under way, with status 143. Started once on each of several
    machines (srun, a TPU pod, or --processes and --process), each does its share.

    With --samples K: NAME_0.png, ..., NAME_mean.png, NAME_std.png (its metadata says what white is), NAME_panel.png.
    """
    clips = any(path.suffix.lower() in CLIPS for path in inputs)
    scans = task in SCAN_TASKS or volume or clips
    check_names(None if task in SCAN_TASKS else task, solver)
    check_exist(*inputs)
    if settings is not None:
        check_exist(settings)
    number = parse_batch_size(batch_size)
    bit_depth = parse_bits(bits)
    check_hole(hole)
    check_border(border)
    level = None
    if not scans:
        level = None if sigma == "auto" else parse_sigma(sigma)
        check_asked(
            inputs,
            task=task,
            mask=mask,
            sigma=level,
            samples=samples,
            batch_size=number,
            tile=tile,
            seed=seed,
            grow=grow,
            white=white,
            page=page,
        )
    use_cores()
    from dataclasses import replace

    from reddiff_jax import jobs
    from reddiff_jax.settings import read_settings

    read = jobs.settings_class(solver, None if scans else task).read
    changes = {"num_steps": steps, "lam": lam, "learning_rate": lr, **dict(map(read, set_ or ()))}
    changes = {name: value for name, value in changes.items() if value is not None}
    if scans:
        restore_scans(
            inputs,
            prior,
            out=out,
            layout=layout,
            sigma=sigma,
            solver=solver,
            task=task,
            mask=mask,
            angles=angles,
            center=center,
            clips=clips,
            lam_z=lam_z,
            motion=motion,
            changes=changes,
            samples=samples,
            batch_size=number or 4,
            seed=seed,
            tile=tile,
            overwrite=overwrite,
            settings=settings,
            share=choose_share(processes, process),
            log=log,
            tensorboard=tensorboard,
            kernel=kernel,
            white=white,
            page=page,
            bits=bits,
            hole=parse_hole(hole),
            grow=grow,
            border=None if border == "unknown" else border,
            exact_sizes=exact_sizes,
            film=film,
        )
        return
    if angles is not None or center is not None or lam_z or motion:
        raise UserError("angles, center, lam-z and motion are of scans and clips: --task ct or mri, or --volume.")
    options = jobs.Options(
        task=task,
        sigma=level,
        mask=mask,
        hole=parse_hole(hole),
        grow=grow,
        kernel=kernel,
        border=jobs.Border(border),
        white=white,
        page=page,
        bits=bit_depth,
        solver=solver,
        changes=changes,
        samples=samples,
        batch_size=number,
        seed=seed,
        tile=tile,
        overwrite=overwrite,
        exact_sizes=exact_sizes,
    )
    options.check()
    share = choose_share(processes, process)
    items = check_found(inputs, out=out)
    jobs.check_out(out, items, options)
    if log is not None:
        jobs.check_log(log, inputs, items, (options.mask, options.kernel))
    with progress_bar("restoring") as update:
        update(0.0, "loading the prior")
        loaded, channels, prior_name = load_prior(prior, of_latents=True)
        if settings is not None:
            options = replace(options, tuned=read_settings(settings, prior_name))
        report = Told(update)
        with Stopping() as stopping:
            outcome = jobs.restore(
                inputs,
                loaded,
                out=out,
                options=options,
                prior_name=prior_name,
                channels=channels,
                share=share,
                cache=cache_folder(),
                log=log,
                tensorboard=tensorboard,
                film=film,
                report=report,
                stop=stopping.asked,
            )
    if outcome.left:
        summarise(outcome, f"restored into {out}")
        raise Stopped
    conclude(outcome, f"restored into {out}")
