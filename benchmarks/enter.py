"""A solver of yours on the pictures, measurements and exact posteriors that this package's own were measured on.

    python -m benchmarks.enter MODULE:NAME [--quick] [--tables quality posterior] [--tasks sr4 ...] [--out FOLDER]

MODULE is a module that Python finds from here, or a file, ``path/to/mine.py:NAME``. The names of NAME's parameters tell
what it is: ``prior`` alone, a function (or a class) that returns a solver with init, step, estimate and num_steps;
``problem``, and if it likes ``key`` and ``prior``, a function that returns an image (H, W, C) in [-1, 1].

Quality: benchmarks/quality.py's five photos, tasks, noise levels, seeds and metrics, with the bundled prior. Posterior:
the measurements, numbers of samples and distances of benchmarks/posterior.py, whose priors are known exactly. The rows
of the package's own solvers are committed results, tuned as those modules say; yours runs as it is.

What was measured is kept in FOLDER (out/entered/...) until NAME's file changes, so that the command may be
interrupted; ``--fresh`` starts anew. ``--quick`` does three tasks, and fewer posteriors in fewer dimensions.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import reddiff_jax as rd
from benchmarks import _entries, _posteriors, _report, posterior, quality
from benchmarks._tables_posteriors import posterior_rows
from benchmarks._tables_quality import is_shown
from reddiff_jax import metrics

TABLES = ("quality", "posterior")
WHOLE = {
    "tasks": list(quality.TASKS),
    "sigmas": list(quality.SIGMAS),
    "dims": [8, 80, 800],
    "repeats": 20,
    "samples": 1000,
}
"""What the committed rows were measured with."""
QUICK = {
    "tasks": ["inpaint_random", "sr4", "deblur_motion"],
    "sigmas": [0.05],
    "dims": [8],
    "repeats": 5,
    "samples": 200,
}
"""A look in minutes."""


def quality_rows(
    entry: _entries.Entry, prior: rd.Prior, size: int, cases: list[tuple[str, float]]
) -> Iterator[dict[str, Any]]:
    """A row for each task and noise level, as in results/quality.json; says what the entry cannot do."""
    lpips, cut = metrics.load_lpips(), quality.pictures(size)
    x = np.stack(list(cut.values()))
    contestant = _entries.Contestant(entry, prior, _say)
    evaluations = None
    for task, sigma in cases:
        problems = quality.simulate(task, sigma, x)
        try:
            restored = contestant.restore(quality.run_keys(len(x)), problems)
        except _entries.EntryError as error:
            _say(f"{task}, sigma {sigma:g}: left out: {error}")
            continue
        if not np.isfinite(restored).all():
            bad = [name for name, image in zip(cut, restored, strict=True) if not np.isfinite(image).all()]
            _say(f"{task}, sigma {sigma:g}: left out: {entry.name} returned NaN or infinity for {', '.join(bad)}.")
            continue
        if evaluations is None:
            evaluations = _entries.count_evaluations(entry, problems[0], prior.schedule)
        row = {"task": task, "sigma": sigma, "method": entry.name}
        yield row | quality.judged(lpips, restored, cut) | {"evaluations": evaluations}


def posterior_row(
    contestant: _entries.Contestant, family: _posteriors.Family, rank: int, repeats: int, samples: int
) -> dict[str, Any] | None:
    """A row as in results/posterior.json; None, and a line that says why, if the entry cannot do it."""
    entry, count, drawn = contestant.entry, posterior.num_samples(family, samples), []
    row: dict[str, Any] = {"prior": family.name, "measured": rank, "solver": entry.name, "repeats": repeats}
    try:
        for seed, case in posterior.cases(family, rank, range(repeats)):
            xs = contestant.draw(jax.random.split(jax.random.key(seed), count), case.problem)
            drawn.append(posterior.judged(np.asarray(xs, np.float64).reshape(count, -1), case, seed))
    except _entries.EntryError as error:
        _say(f"{family.name}, {rank} measured: left out: {error}")
        return None
    if not all(result["finite"] for result in drawn):
        _say(f"{family.name}, {rank} measured: left out: {entry.name} returned no finite sample of some measurement.")
        return None
    problem = posterior.cases(family, rank, range(1))[0][1].problem
    evaluations = _entries.count_evaluations(entry, problem, family.prior.schedule)
    return row | {"samples": count, "evaluations": evaluations} | posterior.summary(drawn)


def beside_quality(rows: list[dict[str, Any]], committed: list[dict[str, Any]]) -> str:
    """For each task the entry's figures, its place, and those of the rows that the site shows, best first."""
    parts = []
    for metric, title, sign, digits in (("PSNR", "PSNR in dB", -1, 2), ("LPIPS", "LPIPS, lower is better", 1, 3)):
        table = []
        for row in rows:
            case = (row["task"], row["sigma"])
            others = [each for each in committed if (each["task"], each["sigma"]) == case and is_shown(each)]
            ordered = sorted([*others, row], key=lambda each: sign * each[metric])
            table.append(
                {
                    "task": row["task"],
                    "sigma": f"{row['sigma']:g}",
                    row["method"]: f"{row[metric]:.{digits}f}",
                    "place": f"{ordered.index(row) + 1} of {len(ordered)}",
                    "the others": ", ".join(
                        f"{each['method']} {each[metric]:.{digits}f}" for each in ordered if each is not row
                    ),
                }
            )
        parts.append(f"{title}:\n\n" + _report.markdown(table, list(table[0])))
    return "\n\n".join(parts)


def beside_posterior(rows: list[dict[str, Any]], committed: list[dict[str, Any]]) -> str:
    """The site's table of exact posteriors, the entry's row first; of the priors and ranks that it was measured on."""
    measured = {(row["prior"], row["measured"]) for row in rows}
    others = [row for row in committed if (row["prior"], row["measured"]) in measured]
    own = [{**row, "evaluations": posterior.EVALUATIONS} for row in rows]
    table = posterior_rows([*own, *others], posterior.EVALUATIONS)
    columns = [name for name in table[0] if table[0][name].strip("- /")]
    return "Samples against exact posteriors:\n\n" + _report.markdown(table, columns)


def main(argv: list[str] | None = None) -> int:
    """Measures, keeps and prints; returns the exit status: 2 for what cannot be used, 1 if nothing was measured."""
    args = _with_defaults(_parser().parse_args(argv))
    sys.path.insert(0, str(Path.cwd()))
    try:
        entry = _entries.load(args.entry)
        # A factory that fails, or returns no solver, does so before anything is measured.
        _entries.Contestant(entry, posterior.families([])[0].prior, _say)
    except _entries.EntryError as error:
        _say(str(error))
        return 2
    out = args.out / re.sub(r"[^\w.-]+", "_", entry.name)
    own = {"entry": entry.name, "source": entry.digest}
    printed = [
        *(_measure_quality(entry, own, args, out) if "quality" in args.tables else []),
        *(_measure_posterior(entry, own, args, out) if "posterior" in args.tables else []),
    ]
    print("\n" + "\n\n".join(printed) if printed else "nothing was measured")
    return 0 if printed else 1


def _measure_quality(entry: _entries.Entry, own: dict[str, Any], args: argparse.Namespace, out: Path) -> list[str]:
    settings = own | {
        "prior": str(args.prior or "bundled"),
        "size": args.size,
        "pictures": list(quality._pictures.HELD_OUT),
    }
    rows = _kept(out / "quality.json", settings, args.fresh)
    cases = [(task, sigma) for task in args.tasks for sigma in args.sigmas]
    left = [case for case in cases if case not in {(row["task"], row["sigma"]) for row in rows}]
    if left:
        for row in quality_rows(entry, rd.load_prior(args.prior), args.size, left):
            rows.append(row)
            _report.write("quality", settings=settings, rows=rows, out=out)
            _print_row(row, ["task", "sigma", "PSNR", "SSIM", "LPIPS", "evaluations"])
    shown = [row for row in rows if (row["task"], row["sigma"]) in cases]
    committed = _committed("quality")
    same = all(committed["settings"][name] == settings[name] for name in ("prior", "size", "pictures"))
    notes = [] if same or not shown else ["The committed rows are of the bundled prior and 64 x 64: no comparison."]
    return [beside_quality(shown, committed["rows"] if same else []), *notes] if shown else []


def _measure_posterior(entry: _entries.Entry, own: dict[str, Any], args: argparse.Namespace, out: Path) -> list[str]:
    settings = own | {"repeats": args.repeats, "samples": args.samples, "slices": _posteriors.NUM_SLICES}
    rows = _kept(out / "posterior.json", settings, args.fresh)
    families = posterior.families(args.dims)
    done = {(row["prior"], row["measured"]) for row in rows}
    for family in families:
        contestant = _entries.Contestant(entry, family.prior, _say)
        for rank in family.ranks:
            if (family.name, rank) in done:
                continue
            row = posterior_row(contestant, family, rank, args.repeats, args.samples)
            if row is not None:
                rows.append(row)
                _report.write("posterior", settings=settings, rows=rows, out=out)
                _print_row(row, ["prior", "measured", "SW", "coverage", "recall", "spread", "evaluations"])
    wanted = {(family.name, rank) for family in families for rank in family.ranks}
    shown = [row for row in rows if (row["prior"], row["measured"]) in wanted]
    notes = []
    if shown and (args.repeats, args.samples) != (WHOLE["repeats"], WHOLE["samples"]):
        notes = [
            f"The committed rows are of {WHOLE['repeats']} measurements and {WHOLE['samples']} samples each, yours of "
            f"{args.repeats} and {args.samples}: a look, not a comparison."
        ]
    return [beside_posterior(shown, _committed("posterior")["rows"]), *notes] if shown else []


def _kept(path: Path, settings: dict[str, Any], fresh: bool) -> list[dict[str, Any]]:
    """Rows of an earlier run of the same file with the same settings."""
    if fresh or not path.exists():
        return []
    earlier = json.loads(path.read_text())
    return earlier["rows"] if earlier["settings"] == settings else []


def _committed(name: str) -> dict[str, Any]:
    return json.loads((_report.RESULTS / f"{name}.json").read_text())


def _print_row(row: dict[str, Any], columns: list[str]) -> None:
    print(_report.markdown([row], columns).splitlines()[-1], flush=True)


def _say(text: str) -> None:
    print(f"enter: {text}", file=sys.stderr, flush=True)


def _with_defaults(args: argparse.Namespace) -> argparse.Namespace:
    """Fills in what was not said: little if ``--quick``, else what the committed rows were measured with."""
    for name, value in (QUICK if args.quick else WHOLE).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entry", metavar="MODULE:NAME")
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--quick", action="store_true", help="a look in minutes")
    parser.add_argument("--tasks", nargs="+", choices=quality.TASKS)
    parser.add_argument("--sigmas", nargs="+", type=float, choices=quality.SIGMAS)
    parser.add_argument("--dims", nargs="*", type=int, help="of the 25 Gaussians: 8 80 800; none: the Gaussians alone")
    parser.add_argument("--repeats", type=int, help="measurements of each kind (20)")
    parser.add_argument("--samples", type=int, help="of each measurement (1000)")
    parser.add_argument("--prior", type=Path, help="folder of another prior for the photos")
    parser.add_argument("--size", type=int, default=quality.SIZE, help="of the photos (64)")
    parser.add_argument("--out", type=Path, default=Path("out/entered"))
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
