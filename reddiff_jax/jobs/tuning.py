"""Tuning a solver's settings on a user's pictures, into a file."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax import metrics, pictures, tuning
from reddiff_jax.jobs.checks import check_seed
from reddiff_jax.jobs.errors import JobError, with_path
from reddiff_jax.jobs.events import Failure
from reddiff_jax.jobs.finding import find_inputs
from reddiff_jax.jobs.locking import LOCK, holding
from reddiff_jax.jobs.options import settings_class
from reddiff_jax.jobs.outputs import prepare_folder, writing
from reddiff_jax.priors import Prior
from reddiff_jax.settings import SettingsFile, read_settings
from reddiff_jax.tuning import Score, Search, Tuned

_LPIPS_SIDE = 31  # below which AlexNet has nothing left to pool


def tune_settings(
    inputs: Sequence[str | Path],
    prior: Prior,
    *,
    out: str | Path,
    task: str,
    sigma: float,
    solver: str | None = None,
    budget: int = 32,
    search: Search = tuning.random_search,
    size: int = 64,
    num_steps: int | None = None,
    sweep_size: int = 4,
    vary: Sequence[str] | None = None,
    seed: int = 0,
    prior_name: str = "",
    channels: int = 3,
    report: Callable[[Tuned, int], None] = lambda so_far, done: None,
    fail: Callable[[Failure], None] = lambda failure: None,
) -> tuple[Tuned, Score]:
    """Searches a solver's settings on clean pictures, and writes them to a file as it goes.

    Killed and called again in the same way it continues: trials that the file holds are not run again. Other rows of
    the file are kept.

    Args:
        inputs: Pictures, or folders of them.
        prior: The diffusion prior.
        out: The file.
        task: Name of the task.
        sigma: Standard deviation of the noise, for pixels in [-1, 1].
        solver: Name of the solver; the one that does the task best if None.
        budget: Number of trials.
        search: How: see ``tuning``.
        size: Side of the central square of each picture, which is reduced to it.
        num_steps: Number of steps; the present settings' if None.
        sweep_size: Trials run at once.
        vary: Fields that are searched; all if None.
        seed: Seed of everything drawn.
        prior_name: What identifies the prior: see ``fingerprint``.
        channels: Channels of the prior's pictures.
        report: Called with what was found so far and the number of trials that are done.
        fail: Called with each input that cannot be used; the others are.

    Returns:
        What was found, and the score by which: PSNR - 10 LPIPS; PSNR where LPIPS is not installed or not defined.

    Raises:
        JobError: If no picture can be used, the file is not ours or of another prior, or another process
            tunes into it.
        ValueError: For settings that make no sense.
    """
    check_seed(seed)
    out = Path(out)
    if out.is_dir():
        raise JobError(f"{out} is a folder; name a file, such as {out / 'settings.json'}.")
    file = read_settings(out, prior_name) if out.exists() else SettingsFile(out, prior_name)
    originals = _read(inputs, size, channels, fail)
    score = _score(size)
    solver = settings_class(solver, task).name
    key = {"task": task, "sigma": float(sigma), "solver": solver}
    how = {
        "score": score.__name__,
        "steps": num_steps,
        "size": size,
        "seed": seed,
        "pictures": len(originals),
        "digest": hashlib.sha256(np.asarray(originals).tobytes()).hexdigest()[:16],
    }
    prepare_folder(out.parent)

    def save(so_far: Tuned, done: int) -> None:
        with writing(out):
            file.add(key, how, search.__name__, so_far.kind, [(each.settings, each.score) for each in so_far.trials])
        report(so_far, done)

    with holding(out.with_name(f".{out.name[:200]}{LOCK}")):
        # Its rows may be more by now, and are written again with each new one.
        file = read_settings(out, prior_name) if out.exists() else file
        tuned = tuning.tune(
            jax.random.key(seed),
            prior,
            task,
            sigma,
            originals,
            solver=solver,
            budget=budget,
            search=search,
            score=score,
            num_steps=num_steps,
            sweep_size=sweep_size,
            vary=vary,
            known=file.known(key, how),
            report=save,
        )
    if not np.isfinite(tuned.score):
        raise JobError(f"every trial of {solver} diverged; vary other settings, or take another solver.")
    return tuned, score


def _read(inputs: Sequence[str | Path], size: int, channels: int, fail: Callable[[Failure], None]) -> jax.Array:
    """The pictures that can be used, (B, H, W, C) in [-1, 1]."""
    items, failures = find_inputs(inputs, measured=False)
    originals = []
    for item in items:
        try:
            cut = pictures.center_crop(pictures.read_uint8(item.path, channels=channels), size)
            originals.append(pictures.to_float(cut))
        except Exception as error:
            # Readers raise nearly anything for a stranger's broken file.
            failures.append(Failure(item.name, with_path(item.path, error)))
    if not originals:
        raise JobError(failures[0].reason)
    for failure in failures:
        fail(failure)
    return jnp.stack(originals)


def _score(size: int) -> Score:
    if size < _LPIPS_SIDE:
        return tuning.psnr
    try:
        metrics.load_lpips()
    except ImportError:
        return tuning.psnr
    return tuning.psnr_lpips
