"""A job under way: what its groups of pictures share, and what is noted and reported of each picture."""

from collections.abc import Callable
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
from reddiff_jax.jobs.planning import Plan
from reddiff_jax.jobs.watching import Film, ScalarEvents, ScalarLog
from reddiff_jax.latents import Latent
from reddiff_jax.priors import Prior

_OF_RESULTS = ("settings", "options", "outputs", "sha256", "versions")


@dataclass
class Work:
    """A job under way: what its groups of pictures share."""

    out: Path
    prior: Prior | Latent
    prior_name: str
    channels: int
    options: Options
    manifest: Manifest
    sizes: RememberedSizes
    outcome: Outcome
    report: Report
    pool: ThreadPoolExecutor
    stop: Callable[[], bool] = lambda: False  # asked before each batch
    logs: list[ScalarLog | ScalarEvents] = field(default_factory=list)
    film: Film | None = None
    finished_before: set[str] = field(default_factory=set)
    total: int = 1
    finished: int = 0
    steps_left: float = 0.0  # of all samples, each times its pixels: what time is taken to be in proportion to
    begun: float = 0.0  # what is done of the pictures that are not finished

    @property
    def done(self) -> float:
        """Fraction of the whole work that is done."""
        return min(1.0, (self.finished + self.begun) / self.total)

    def entry(self, plan: Plan) -> dict[str, Any]:
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
