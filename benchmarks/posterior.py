"""Samples of every solver against exact posteriors: Gaussian priors, and 25 Gaussians in 8, 80 and 800 dimensions.

    python -m benchmarks.posterior [--only reddiff ...] [--repeats 20] [--dims 8 80 800]

Every solver has the same number of network evaluations, and the best of five values of its main parameter by the sliced
Wasserstein distance on other measurements; in 8 dimensions and for the Gaussians also the number that its authors use.
Rows that are in results/posterior.json are kept unless ``--only`` names their solver.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

import reddiff_jax as rd
from benchmarks import _long_runs, _posteriors, _report

EVALUATIONS = 100
NUM_TUNING = 2  # measurements of each rank
PANEL = "posterior_panel.png"
PANEL_SEED = 0


@dataclass(frozen=True)
class Entry:
    """A solver: ``make(prior, network evaluations)``, what is tuned, and its authors' number of evaluations."""

    make: Callable[[rd.Prior, int], rd.Solver]
    parameter: str
    values: tuple[float, ...]
    published: int
    sees_y: bool = True


# All start from noise or the gray image: A+ y is far from everything where a singular value is small.
SOLVERS: dict[str, Entry] = {
    "reddiff": Entry(
        lambda p, n: rd.reddiff(p, num_steps=n, init=rd.solvers.init_zeros), "lam", (0.05, 0.25, 1.0, 5.0, 25.0), 1000
    ),
    "reddiff_var": Entry(
        lambda p, n: rd.reddiff_var(p, num_steps=n, init=rd.solvers.init_zeros), "lam", (0.03, 0.1, 0.3, 1.0, 3.0), 1000
    ),
    # Untuned: at sigma_y its weights are the posterior's own.
    "noise_aware": Entry(
        lambda p, n: _long_runs.noise_aware(p, num_steps=n, init=rd.solvers.init_zeros), "lam", (1.0,), 20
    ),
    "noise_aware_sample": Entry(
        lambda p, n: _long_runs.noise_aware(p, num_steps=n, init=rd.solvers.init_zeros, sample=True), "lam", (1.0,), 20
    ),
    "sds": Entry(lambda p, n: rd.sds(p, num_steps=n), "lam", (1.0,), 1000, sees_y=False),
    "ddim": Entry(lambda p, n: rd.ddim(p, num_steps=n), "eta", (0.0, 0.25, 0.5, 0.75, 1.0), 100, sees_y=False),
    "dps": Entry(
        lambda p, n: rd.dps(p, num_steps=n, init=rd.solvers.init_zeros), "scale", (0.015, 0.05, 0.15, 0.5, 1.5), 1000
    ),
    "pigdm": Entry(
        lambda p, n: rd.pigdm(p, num_steps=n, init=rd.solvers.init_zeros), "scale", (0.25, 0.5, 1.0, 2.0, 4.0), 100
    ),
    "ddrm": Entry(lambda p, n: rd.ddrm(p, num_steps=n), "eta", (0.25, 0.5, 0.7, 0.85, 1.0), 20),
    "ddnm": Entry(lambda p, n: rd.ddnm(p, num_steps=n), "eta", (0.25, 0.5, 0.7, 0.85, 1.0), 100),
    "mcg": Entry(
        lambda p, n: rd.mcg(p, num_steps=n, init=rd.solvers.init_zeros), "scale", (0.01, 0.03, 0.1, 0.3, 1.0), 1000
    ),
    "diffpir": Entry(lambda p, n: rd.diffpir(p, num_steps=n), "lam", (0.1, 0.3, 1.0, 3.0, 10.0), 100),
    "daps": Entry(lambda p, n: rd.daps(p, num_steps=n // 5), "step_size", (0.03, 0.1, 0.3, 0.6, 1.0), 1000),
    # As many steps of conjugate gradients as numbers are measured: exact.
    "mmps": Entry(
        lambda p, n: rd.mmps(p, num_steps=n, num_cg=_posteriors.NUM_ROWS), "eta", (0.0, 0.25, 0.5, 0.75, 1.0), 100
    ),
    "red": Entry(
        lambda p, n: rd.red(p, num_steps=n, init=rd.solvers.init_zeros), "lam", (0.004, 0.02, 0.04, 0.2, 1.0), 200
    ),
}


@jax.jit
def _draw(keys: jax.Array, solver: rd.Solver, problem: rd.Problem) -> jax.Array:
    """One sample for each key, (N, H, W, C); where a solver gives a Gaussian, a draw from each run's."""

    def one(key):
        solution = rd.run(key, solver, problem)
        if not isinstance(solver, rd.solvers.RedDiffVar):
            return solution.x
        z = jax.random.normal(jax.random.fold_in(key, solver.num_steps + 1), solution.x.shape)
        return solution.x + solver.std(solution.state) * z

    return jax.vmap(one)(keys)


def draw(solver: rd.Solver, case: _posteriors.Case, count: int, seed: int) -> np.ndarray:
    """Samples (count, n) for one measurement."""
    keys = jax.random.split(jax.random.key(seed), count)
    return np.asarray(_draw(keys, solver, case.problem), np.float64).reshape(count, -1)


def cases(family: _posteriors.Family, rank: int, seeds: range) -> list[tuple[int, _posteriors.Case]]:
    """Measurements and their seeds."""
    return [(seed, _posteriors.case(family, rank, seed)) for seed in seeds]


def tuned(entry: Entry, solver: rd.Solver, family: _posteriors.Family, count: int) -> float:
    """The value of the parameter with the least mean distance on measurements that are not reported."""
    held_out = [pair for rank in family.ranks for pair in cases(family, rank, range(1000, 1000 + NUM_TUNING))]

    def score(value: float) -> float:
        candidate = solver.replace(**{entry.parameter: value})  # type: ignore[attr-defined]
        return float(np.mean([judged(draw(candidate, case, count, seed), case, seed)["SW"] for seed, case in held_out]))

    if len(entry.values) == 1:
        return entry.values[0]
    return min(entry.values, key=lambda value: np.nan_to_num(score(value), nan=np.inf))


def judged(samples: np.ndarray, case: _posteriors.Case, seed: int) -> dict[str, float]:
    """Distances of the finite samples, and the part that they are."""
    finite = np.isfinite(samples).all(1)
    # A run that diverges but does not overflow counts with its size at most this, 1000 times the picture's range.
    samples = np.clip(samples[finite], -1e3, 1e3)
    if len(samples) < 2:
        return {"SW": float("nan"), "finite": float(finite.mean())}
    return _posteriors.distances(samples, case, seed) | {"finite": float(finite.mean())}


def summary(results: list[dict[str, float]]) -> dict[str, float]:
    """Means over measurements, and half-widths of their 95 % intervals."""
    row: dict[str, float] = {}
    for name in results[0]:
        values = np.array([result[name] for result in results])
        row[name] = round(float(values.mean()), 4)
        row[f"{name} ±"] = round(float(1.96 * values.std(ddof=1) / np.sqrt(len(values))), 4) if len(values) > 1 else 0.0
    return row


def num_samples(family: _posteriors.Family, samples: int) -> int:
    """Fewer where a sample is large."""
    return max(samples // (1 if family.size < 80 else 2 if family.size < 800 else 5), 2)


def rows_of(name: str, family: _posteriors.Family, evaluations: int, repeats: int, samples: int) -> list[dict]:
    """A solver's rows for one prior, one for each number of measured values."""
    count = num_samples(family, samples)
    if name != "exact":
        entry = SOLVERS[name]
        solver = entry.make(family.prior, evaluations)
        value = tuned(entry, solver, family, count)
        solver = solver.replace(**{entry.parameter: value})  # type: ignore[attr-defined]
    rows = []
    for rank in family.ranks:
        start, results = time.perf_counter(), []
        for seed, case in cases(family, rank, range(repeats)):
            if name == "exact":
                drawn = case.posterior.sample(np.random.default_rng([seed, 1]), count)
            else:
                drawn = draw(solver, case, count, seed)
            results.append(judged(drawn, case, seed))
        row: dict[str, Any] = {"prior": family.name, "measured": rank, "solver": name, "repeats": repeats}
        row["samples"] = count
        if name != "exact":
            row |= {"evaluations": evaluations, entry.parameter: value}
        rows.append(row | summary(results) | {"seconds": round(time.perf_counter() - start, 2)})
    return rows


def families(dims: list[int]) -> list[_posteriors.Family]:
    """The priors, Gaussians first."""
    return [_posteriors.gaussian(full=False), _posteriors.gaussian(full=True), *map(_posteriors.gmm, dims)]


def main(argv: list[str] | None = None) -> None:
    """Runs the comparison, writes results/posterior.json and the panel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=["exact", *SOLVERS], help="run these again, and no others")
    parser.add_argument("--repeats", type=int, default=20, help="measurements of each kind")
    parser.add_argument(
        "--samples", type=int, default=1000, help="of each measurement; half in 80 dimensions, a fifth in 800"
    )
    parser.add_argument("--dims", type=int, nargs="*", default=[8, 80, 800])
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args(argv)
    path = args.out / "posterior.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    names = args.only or ["exact", *SOLVERS]
    known = families(args.dims)
    jobs = [(family, name, EVALUATIONS) for family in known for name in names]
    jobs += [
        (family, name, SOLVERS[name].published)
        for family in known
        for name in names
        if family.size <= 16 and name != "exact" and SOLVERS[name].published != EVALUATIONS
    ]
    for family, name, evaluations in jobs:
        same = [row for row in rows if _key(row) == (family.name, name, evaluations)]
        size = (args.repeats, num_samples(family, args.samples))
        if not args.only and same and all((row["repeats"], row["samples"]) == size for row in same):
            continue
        start = time.perf_counter()
        made = rows_of(name, family, evaluations, args.repeats, args.samples)
        rows = sorted([row for row in rows if row not in same] + made, key=_order)
        settings = {
            "evaluations": EVALUATIONS,
            "tuning measurements of each kind": NUM_TUNING,
            "slices": _posteriors.NUM_SLICES,
        }
        _report.write("posterior", settings=settings, rows=rows, out=args.out)
        line = _report.markdown(made[:1], ["prior", "solver", "evaluations", "SW", "coverage", "recall"])
        print(line.splitlines()[-1], f"{time.perf_counter() - start:.1f} s", flush=True)
    if 8 in args.dims and not args.only:
        panel(rows, args.out / PANEL)


def _key(row: dict) -> tuple:
    return row["prior"], row["solver"], row.get("evaluations", EVALUATIONS)


def _order(row: dict) -> tuple:
    names = [family.name for family in families([])]
    place = names.index(row["prior"]) if row["prior"] in names else len(names) + int(row["prior"].split()[-1])
    return place, row["measured"], ["exact", *SOLVERS].index(row["solver"]), row.get("evaluations", 0)


def panel(rows: list[dict], path: Path, *, count: int = 400) -> None:
    """Draws the first two of 8 coordinates, samples over exact ones, one picture a solver."""
    family = _posteriors.gmm(8)
    seed, case = cases(family, 1, range(PANEL_SEED, PANEL_SEED + 1))[0]
    exact = case.posterior.sample(np.random.default_rng(0), count) / case.unit
    chosen = {
        row["solver"]: row
        for row in rows
        if row["prior"] == family.name and row["measured"] == 1 and row.get("evaluations", EVALUATIONS) == EVALUATIONS
    }
    clouds = {"exact": case.posterior.sample(np.random.default_rng(1), count)[:, :2] / case.unit}
    for name, entry in SOLVERS.items():
        solver = entry.make(family.prior, EVALUATIONS)
        solver = solver.replace(**{entry.parameter: chosen[name][entry.parameter]})  # type: ignore[attr-defined]
        title = name if entry.sees_y else f"{name}, does not see y"
        clouds[title] = draw(solver, case, count, seed)[:, :2] / case.unit
    figure = rd.plot.points(clouds, behind=exact[:, :2], columns=4)
    figure.axes[0].set(xlim=(-22, 22), ylim=(-22, 22))
    _report.write_figure(figure, path)


if __name__ == "__main__":
    main()
