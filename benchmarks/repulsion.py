"""What repulsion buys: particles against exact draws of a mixture of 25 Gaussians in 8 dimensions.

    python -m benchmarks.repulsion [--repeats 4] [--groups 64] [--particles 4]

One number is measured, so that the posterior has several modes. Groups of particles are solved by ``rd.repulsive`` for
several weights, and compared with independent samples of ``rd.noise_aware(sample=True)`` and with exact ones. ``found``
counts the different modes of weight above 1 % within a group; ``in modes`` is the part of the particles that are in
such a mode at all. The rest is as in benchmarks/posterior.py.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

import reddiff_jax as rd
from benchmarks import _long_runs, _posteriors, _report, posterior

SIZE = 8
WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0)
STEPS = 100
# All start from the gray image, as in benchmarks/posterior.py.
SOLVERS: dict[str, Callable[[rd.Prior], rd.Solver]] = {
    "noise_aware": lambda prior: _long_runs.noise_aware(prior, num_steps=STEPS, init=rd.solvers.init_zeros),
    "reddiff": lambda prior: rd.reddiff(prior, num_steps=STEPS, init=rd.solvers.init_zeros),
}
runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, None)))


def judged(groups: np.ndarray, case: _posteriors.Case, seed: int) -> dict[str, float]:
    """Distances of all samples (groups, particles, n) to the posterior, and the modes of each group."""
    flat = groups.reshape(-1, SIZE)
    modes = case.posterior.nearest(flat).reshape(groups.shape[:2])
    counted = case.posterior.weights[modes] > _posteriors.LEAST_WEIGHT
    found = np.mean([len(set(mode[kept])) for mode, kept in zip(modes, counted, strict=True)])
    distances = posterior.judged(flat, case, seed)
    return {name: distances[name] for name in ("SW", "coverage", "weights")} | {
        "found": float(found),
        "in modes": float(counted.mean()),
    }


def main(argv: list[str] | None = None) -> None:
    """Runs the comparison and writes results/repulsion.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4, help="measurements")
    parser.add_argument("--groups", type=int, default=64, help="of each measurement")
    parser.add_argument("--particles", type=int, default=4, help="of each group")
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args(argv)
    family = _posteriors.gmm(SIZE)
    shape = (args.groups, args.particles, SIZE)
    cases = posterior.cases(family, 1, range(args.repeats))
    rows: list[dict] = []

    def add(solver: str, weight: float | None, draw: Callable[[_posteriors.Case, int], np.ndarray]) -> None:
        results = [judged(draw(case, seed).reshape(shape), case, seed) for seed, case in cases]
        row = {"solver": solver} | ({} if weight is None else {"weight": weight})
        rows.append(row | {name: round(float(np.mean([r[name] for r in results])), 3) for name in results[0]})
        print(_report.markdown(rows[-1:], list(rows[-1])).splitlines()[-1], flush=True)

    count = args.groups * args.particles
    add("exact", None, lambda case, seed: case.posterior.sample(np.random.default_rng([seed, 1]), count))
    sampler = _long_runs.noise_aware(family.prior, num_steps=STEPS, init=rd.solvers.init_zeros, sample=True)
    add("noise_aware, sample", None, lambda case, seed: posterior.draw(sampler, case, count, seed))
    for name, make in SOLVERS.items():
        together = rd.repulsive(make(family.prior), args.particles)
        for weight in WEIGHTS:
            solver = together.replace(weight=weight)  # type: ignore[attr-defined]

            def draw(case: _posteriors.Case, seed: int, solver: rd.Solver = solver) -> np.ndarray:
                keys = jax.random.split(jax.random.key(seed), args.groups)
                return np.asarray(runs(keys, solver, case.problem).x, np.float64)

            add(name, weight, draw)
    settings = {**{name: getattr(args, name) for name in ("repeats", "groups", "particles")}, "steps": STEPS}
    _report.write("repulsion", settings=settings, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
