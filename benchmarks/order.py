"""Order of timesteps: descending against random and ascending, where the exact answer is known.

    python -m benchmarks.order

A Gaussian prior of standard deviation 0.5, half of the pixels observed without noise (arXiv 2305.04391, section 5.3,
made exact). An unbiased sample of the posterior has error 0 where observed and standard deviation 0.5 elsewhere.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import reddiff_jax as rd
from benchmarks import _report

PRIOR_STD = 0.5
SIZE = 32
BATCH = 10


def main() -> list[dict]:
    """Runs the three orders and writes results/order.json."""
    shape = (SIZE, SIZE, 3)
    prior = rd.gaussian_prior(jnp.zeros(shape), PRIOR_STD**2, rd.schedules.linear())
    mask = rd.masks.random(jax.random.key(1), shape[:2], keep=0.5)
    x = PRIOR_STD * jax.random.normal(jax.random.key(2), (BATCH, *shape))
    operator = rd.inpainting(mask)
    problems = rd.stack([rd.problem(operator(image), operator) for image in x])
    keys = jax.random.split(jax.random.key(0), BATCH)
    rows = []
    for order in (rd.solvers.descending, rd.solvers.random, rd.solvers.ascending):
        solver = rd.reddiff(prior, optax.adam(0.1, b1=0.9, b2=0.99), lam=0.25, num_steps=1000, order=order)
        restored = np.asarray(jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))(keys, solver, problems).x)
        seen = np.broadcast_to(np.asarray(mask) == 1, restored.shape)
        rows.append(
            {
                "order": order.__name__,
                "observed RMSE": float(np.sqrt(np.mean((restored - x)[seen] ** 2))),
                "unobserved std": float(restored[~seen].std()),
            }
        )
    return rows


if __name__ == "__main__":
    rows = main()
    _report.write(
        "order", settings={"prior_std": PRIOR_STD, "size": SIZE, "batch": BATCH, "num_steps": 1000}, rows=rows
    )
    print(_report.markdown(rows, ["order", "observed RMSE", "unobserved std"]))
