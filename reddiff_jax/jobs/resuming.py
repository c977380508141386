"""What an output folder holds already: what is finished, what must be done again, and what is not ours."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from reddiff_jax._versions import versions
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.manifest import Manifest
from reddiff_jax.jobs.outputs import not_as_written
from reddiff_jax.jobs.planned import INPUTS, Planned

_UNFINISHED = ("waiting", "started")


def obstacle_of(
    plan: Planned, manifest: Manifest, out: Path, sources: Collection[Path], *, overwrite: bool
) -> JobError | None:
    """What forbids to write one picture's results: an input, or a file that is not ours, in their place.

    Args:
        plan: The picture's.
        manifest: Of the output folder.
        out: The output folder.
        sources: All inputs, resolved.
        overwrite: Whether what is there may be written over.
    """
    for output in plan.outputs:
        if (out / output).resolve() in sources:
            return JobError(f"{out / output} would be overwritten by a result; choose another --out.")
    present = [out / output for output in plan.outputs if os.path.lexists(out / output)]
    entry = manifest.entries.get(plan.item.name)
    if overwrite or not present:
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


def is_finished(plan: Planned, manifest: Manifest, out: Path, *, overwrite: bool) -> bool:
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


def changed_inputs(plan: Planned, manifest: Manifest) -> list[str]:
    """Which of a finished picture's inputs are not what they were: "picture", "mask", "kernel"."""
    entry = manifest.entries.get(plan.item.name, {})
    old = entry.get("settings", {})
    if "picture" not in old or "options" not in entry:
        return []  # never restored, or by an earlier version
    return [name for name in INPUTS if old.get(name) != plan.record.get(name)]


def is_being_overwritten(plans: Sequence[Planned], manifest: Manifest) -> bool:
    """Whether a job that does these pictures again was interrupted, and can be continued."""
    entries = [(manifest.entries.get(plan.item.name, {}), plan) for plan in plans]
    waiting = [(entry, plan) for entry, plan in entries if entry.get("overwrite") and entry["status"] in _UNFINISHED]
    return any(entry["settings"] == plan.record for entry, plan in waiting)


def other_versions(manifest: Manifest, names: Sequence[str]) -> dict[str, str]:
    """Pictures that were restored by other versions than these, with the first package that differs."""
    now, found = versions(), {}
    for name in names:
        then = manifest.entries.get(name, {}).get("versions", now)
        for package, version in now.items():
            if then.get(package) != version:
                found.setdefault(name, f"{package} {then.get(package)}, now {version}")
    return found
