"""A job under way: what its groups of pictures share, and what is noted and reported of each picture."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reddiff_jax._versions import versions
from reddiff_jax.jobs.batch_sizes import RememberedSizes
from reddiff_jax.jobs.errors import with_path
from reddiff_jax.jobs.events import Event, Failure, Outcome, Report
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.manifest import Manifest
from reddiff_jax.jobs.options import Options
from reddiff_jax.jobs.planned import Planned
from reddiff_jax.jobs.resuming import is_being_overwritten, is_finished, other_versions
from reddiff_jax.jobs.watching import Film, ScalarEvents, ScalarLog
from reddiff_jax.latents import Latent
from reddiff_jax.priors import Prior

_OF_RESULTS = ("settings", "options", "outputs", "sha256", "versions")


@dataclass(kw_only=True)
class Ledger:
    """What is noted and reported of each input of a job, and what became of it."""

    out: Path
    manifest: Manifest
    outcome: Outcome
    report: Report
    stop: Callable[[], bool] = lambda: False  # asked before each batch
    logs: list[ScalarLog | ScalarEvents] = field(default_factory=list)
    finished_before: set[str] = field(default_factory=set)
    total: int = 1
    finished: int = 0
    begun: float = 0.0  # what is done of the inputs that are not finished

    @property
    def done(self) -> float:
        """Fraction of the whole work that is done."""
        return min(1.0, (self.finished + self.begun) / self.total)

    def entry(self, plan: Planned) -> dict[str, Any]:
        """What the manifest says of a picture, whatever becomes of it."""
        return {
            "name": plan.item.name,
            "source": str(plan.item.path),
            "outputs": plan.outputs,
            "settings": plan.record,
            "options": plan.asked,
            "versions": versions(),
            "attempts": self.manifest.entries.get(plan.item.name, {}).get("attempts", 0),
        }

    def fail(self, item: Item, error: BaseException, noted: bool = True, **more: Any) -> None:
        """Notes and reports a picture that could not be restored; not in the manifest where another's results are."""
        reason = with_path(item.path, error)
        self.outcome.failures.append(Failure(item.name, reason))
        if noted:
            before = self.manifest.entries.get(item.name, {})
            known = {name: before[name] for name in _OF_RESULTS if name in before}  # what lies there is still ours
            entry = {**known, "name": item.name, "source": str(item.path), **more, "status": "failed", "error": reason}
            self.manifest.add(entry)
        self.report(Event("failed", item.name, self.done, reason))

    def begins_again(self, plans: Sequence[Planned], *, overwrite: bool) -> bool:
        """Whether all are done again, finished or not; an interrupted job of this kind is continued.

        The manifest then says which of them wait for it.
        """
        again = overwrite and not is_being_overwritten(plans, self.manifest)
        if again and plans:
            self.manifest.add(*({**self.entry(plan), "overwrite": True, "status": "waiting"} for plan in plans))
        return again

    def finds_finished(self, plan: Planned, *, again: bool, overwrite: bool) -> bool:
        """Whether an input's results are there, which is reported; or that they are to be done again, and why.

        Raises:
            JobError: If they are there with other settings.
        """
        name = plan.item.name
        if not again and is_finished(plan, self.manifest, self.out, overwrite=overwrite):
            self.finished_before.add(name)
            self.outcome.skipped.append(name)
            self.report(Event("skipped", name, 0.0))
            return True
        return False

    def tell_versions(self) -> None:
        """Reports that results which were found are of other versions than these."""
        if earlier := other_versions(self.manifest, self.outcome.skipped):
            text = (
                f"{len(earlier)} pictures found done are of other versions ({next(iter(earlier.values()))}); with "
                "--overwrite all are of these."
            )
            self.report(Event("note", text, 0.0))

    def leave_the_rest(self, items: Sequence[Item]) -> None:
        """Notes as left what nothing has become of."""
        settled = {*self.outcome.done, *self.outcome.skipped, *(failure.name for failure in self.outcome.failures)}
        self.outcome.left.extend(item.name for item in items if item.name not in settled)


@dataclass(kw_only=True)
class Work(Ledger):
    """A job under way: what its groups of pictures share."""

    prior: Prior | Latent
    prior_name: str
    channels: int
    options: Options
    sizes: RememberedSizes
    pool: ThreadPoolExecutor
    film: Film | None = None
    steps_left: float = 0.0  # of all samples, each times its pixels: what time is taken to be in proportion to
