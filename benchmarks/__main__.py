"""Measures everything again, in the order in which one needs the other, and writes the pages.

    python -m benchmarks all [--list] [--only NAME ...] [--force]

What is current, measured with the code and the priors as they are, is passed over, and what was interrupted goes on
where it was. A stale result is removed before it is measured again: benchmarks keep the rows that they find. The work
must be committed: a result says which commit it is of. ``--list`` says what is stale and how long it took the last
time. Benchmarks of time need an idle machine, and so does this command.

Not in it are those that need other data (``architectures``, ``emoji64``, ``latent``, ``net_error``), packages
(``clips``, ``cone_beam``) or an accelerator (``gpu``).
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import _code, _report


@dataclass(frozen=True)
class Entry:
    """A benchmark, in the order in which they run.

    Args (fields):
        name: Module, and file in ``benchmarks/results``.
        others: Further results that it writes.
        timed: Whether it measures time.
    """

    name: str
    others: tuple[str, ...] = ()
    timed: bool = False

    @property
    def files(self) -> list[Path]:
        """Its results, its own first."""
        return [_report.RESULTS / f"{name}.json" for name in (self.name, *self.others)]

    @property
    def begun(self) -> Path:
        """A file that is there while it is not done."""
        return _report.RESULTS / f"{self.name}.begun"

    @property
    def result(self) -> dict[str, Any]:
        """Its own result, nothing if there is none."""
        return json.loads(self.files[0].read_text()) if self.files[0].exists() else {}

    @property
    def is_current(self) -> bool:
        """Whether its result is whole, and was measured with the code as it is."""
        return not self.begun.exists() and self._has_code()

    @property
    def took(self) -> str:
        """How long it took, and what it needs."""
        minutes = self.result.get("minutes")
        said = [] if minutes is None else [f"{minutes:g} minutes"]
        return ", ".join([*said, "needs an idle machine"] if self.timed else said)

    def run(self) -> bool:
        """Measures; True if all went well."""
        if not (self.begun.exists() and self._has_code()):
            for path in self.files:
                path.unlink(missing_ok=True)
        self.begun.touch()
        status = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{self.name}"], check=False, cwd=_code.ROOT
        ).returncode
        if status == 0:
            self.begun.unlink()
        return status == 0

    def _has_code(self) -> bool:
        return "code" in self.result and not _code.changed(self.result["code"])


ENTRIES = (
    # Settings first: the others use them.
    Entry("tune"),
    Entry("views"),
    Entry("denoising"),
    Entry("sigma"),
    Entry("growing"),
    Entry("borders"),
    Entry("regions"),
    Entry("framing"),
    Entry("defaults"),
    Entry("options"),
    Entry("quality", others=("quality_settings",)),
    Entry("noise_aware", others=("noise_aware_settings",)),
    Entry("ablations"),
    Entry("overfitting"),
    Entry("tasks"),
    Entry("blind"),
    Entry("medical"),
    Entry("volumes"),
    Entry("order"),
    Entry("posterior"),
    Entry("calibration"),
    Entry("repulsion"),
    Entry("forward", timed=True),
    Entry("vmap", timed=True),
    Entry("operators", timed=True),
    Entry("progress", timed=True),
    Entry("compiling", timed=True),
    Entry("cost", timed=True),
    Entry("speed", timed=True),
    Entry("cpu", timed=True),
)


def main(argv: list[str] | None = None) -> int:
    """Runs what is stale; the exit status is 1 if one failed, 2 if none may run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["all"])
    parser.add_argument("--list", action="store_true", help="say what is stale, and stop")
    parser.add_argument("--only", nargs="+", choices=[entry.name for entry in ENTRIES], metavar="NAME")
    parser.add_argument("--force", action="store_true", help="measure what is current, too")
    args = parser.parse_args(argv)
    entries = [entry for entry in ENTRIES if not args.only or entry.name in args.only]
    wanted = [entry for entry in entries if args.force or not entry.is_current]
    for entry in entries:
        print(f"{entry.name:12} {'stale' if entry in wanted else 'current':8} {entry.took}")
    known = [entry.result["minutes"] for entry in wanted if "minutes" in entry.result]
    unknown = len(wanted) - len(known)
    print(f"{len(wanted)} to measure: {sum(known):.0f} minutes" + (f", and {unknown} not known" if unknown else ""))
    if args.list or not wanted:
        return 0
    if _report.environment()["commit"].endswith("-dirty"):
        print("benchmarks: the work differs from its commit; commit it, so that results can say what they are of.")
        return 2
    failed = []
    for entry in wanted:
        print(f"== {entry.name}", flush=True)
        began = time.perf_counter()
        if not entry.run():
            failed.append(entry.name)
        print(f"== {entry.name}: {(time.perf_counter() - began) / 60:.1f} minutes", flush=True)
    subprocess.run([sys.executable, "-m", "benchmarks.pages"], check=True, cwd=_code.ROOT)
    if failed:
        print(f"failed: {', '.join(failed)}; the same command tries them again.")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
