"""CT of a volume of few views: slices by themselves, and coupled with their neighbours.

    python -m benchmarks.volumes [--prior PRIOR] [--size 64] [--slices 16]

Axial slices of MNI152 (nilearn), 2 mm apart, as attenuation in [-1, 1]; the prior has seen photos only. Each is
measured by a few parallel views, at the same angles in all slices, or at angles that are turned from slice to slice by
a quarter of the gap. The weights of the last two couplings were chosen on 10 views at the same angles, of another crop
of the head. Roughness is the root mean square difference of neighbouring slices.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report

SIGMA = 0.01
CASES = ((8, False), (8, True), (20, True))
WAYS = {
    "each slice by itself": rd.solvers.coupling(0),
    "squares, lam 0.0003": rd.solvers.coupling(0.0003),
    "squares, lam 0.003": rd.solvers.coupling(0.003),
    "edge 0.1, lam 0.01": rd.solvers.coupling(0.01, edge=0.1),
}
run = jax.jit(lambda key, solver, problem: rd.run(key, solver, problem).x)


def head(size: int, count: int) -> jax.Array:
    """Slices (D, size, size, 1) in [-1, 1] around the middle of the head, 2 mm apart."""
    fractions = 0.5 + 2 * (np.arange(count) - count // 2) / 189  # of the 189 mm of the template
    return jnp.asarray(np.stack([_pictures.head_slice(size, fraction) for fraction in fractions]), jnp.float32)


def operator(shape: tuple[int, int, int], count: int, views: int, turned: bool) -> rd.LinearOperator:
    """CT of each slice."""
    angles, gap = np.asarray(rd.view_angles(views)), np.pi / views
    starts = [gap * (k % 4) / 4 if turned else 0.0 for k in range(count)]
    return rd.each_slice([rd.parallel_ct(shape, angles + start) for start in starts])


def main() -> None:
    """Runs the comparison and writes results/volumes.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", help="folder or bundled name")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--out", type=Path, help="folder for the JSON; results/ if left out")
    args = parser.parse_args()
    truth = head(args.size, args.slices)
    prior = rd.slices(rd.gray_prior(rd.load_prior(args.prior)))
    rows = []

    def score(case: str, way: str, x: jax.Array, seconds: float) -> None:
        cut = jnp.clip(x, -1, 1)
        row = {"case": case, "way": way, "PSNR": float(10 * jnp.log10(4 / jnp.mean((cut - truth) ** 2)))}
        rows.append(row | {"roughness": _roughness(cut), "CPU seconds": round(seconds, 1)})
        print(rows[-1], flush=True)

    for views, turned in CASES:
        case = f"{views} views, {'turned' if turned else 'the same'}"
        measured = operator(truth.shape[1:], args.slices, views, turned)  # type: ignore[arg-type]
        problem = rd.measure(jax.random.key(1), measured, rd.gaussian(SIGMA), truth)
        score(case, "filtered back-projection", measured.pinv(problem.y), 0.0)
        for way, coupling in WAYS.items():
            solver = rd.noise_aware(prior, rd.proximal_step(coupling=coupling))
            started = time.process_time()
            x = run(jax.random.key(0), solver, problem).block_until_ready()
            score(case, way, x, time.process_time() - started)
    settings = {"prior": args.prior or "photo", "size": args.size, "slices": args.slices, "sigma": SIGMA}
    _report.write("volumes", settings=settings | {"roughness of the truth": _roughness(truth)}, rows=rows, out=args.out)


def _roughness(x: jax.Array) -> float:
    return float(jnp.sqrt(jnp.mean(jnp.diff(x, axis=0) ** 2)))


if __name__ == "__main__":
    main()
