"""One of two hosts of four devices each, for tests/test_sharding.py: ``one_of_two_hosts.py ADDRESS INDEX``.

Solves a batch that is spread over the devices of both, gathers it from both (which takes communication) and prints the
largest difference from the same batch on its own first device. Arguments are arrays of the host's own first device.
"""

import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

import reddiff_jax as rd

SHAPE = (16, 16, 3)


def main(address: str, index: int) -> None:
    jax.distributed.initialize(address, num_processes=2, process_id=index)
    assert (jax.device_count(), jax.local_device_count()) == (8, 4)
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())
    solver = rd.reddiff(prior, num_steps=5)
    operators = [rd.gaussian_blur(SHAPE, sigma=1.0 + 0.1 * i, size=5) for i in range(8)]
    ys = np.random.default_rng(0).normal(size=(8, *SHAPE)).astype(np.float32)
    problems = rd.stack([rd.problem(jnp.asarray(y), a, rd.gaussian(0.1)) for y, a in zip(ys, operators, strict=True)])
    keys = jax.random.split(jax.random.key(0), 8)
    alone = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))(keys, solver, problems).x
    runs = rd.shard_vmap(rd.run, jax.make_mesh((8,), ("batch",)), (0, None, 0))
    x = runs(keys, solver, problems).x
    assert len(x.addressable_shards) == 4
    print(abs(multihost_utils.process_allgather(x, tiled=True) - np.asarray(alone)).max())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
