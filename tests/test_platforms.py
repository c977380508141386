"""Every solver with every operator lowers for every platform, without any of them."""

import jax
import jax.numpy as jnp
import pytest
from jax import export
from pairs import SOLVER_CASES, every_operator, make_problem, make_solver

import reddiff_jax as rd
from reddiff_jax.nets import DiffusersUNet, ResidualUNet, UNet, parameter_shapes

PLATFORMS = ("cpu", "cuda", "tpu")


def _lower(fn, *args) -> export.Exported:
    """Lowers a function of pytrees for all platforms; raises where there is no way to compute it on one."""
    leaves, structure = jax.tree.flatten(args)
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    return export.export(jax.jit(lambda *leaves: fn(*jax.tree.unflatten(structure, leaves))), platforms=PLATFORMS)(
        *shapes
    )


@pytest.mark.slow
@every_operator
def test_all_solvers_lower_for_cpu_cuda_and_tpu(operator_case):
    problem = make_problem(operator_case)
    if operator_case.factory == "radial_mri":
        pytest.skip("FINUFFT's own transforms: a CPU's, and a GPU's where they were built for one")
    for solver_case in SOLVER_CASES:
        try:
            _lower(lambda *args: rd.run(*args).x, jax.random.key(0), make_solver(solver_case, operator_case), problem)
        except TypeError as refusal:
            if "rd." not in str(refusal):  # a pair that does not fit: the solver says what to use instead
                raise


@pytest.mark.slow
@pytest.mark.parametrize(
    "net",
    [
        UNet(model_channels=32, num_res_blocks=1, channel_mult=(1, 2), attention_downsamples=(2,)),
        UNet(model_channels=32, num_res_blocks=1, channel_mult=(1, 2), attention_downsamples=(2,), dtype=jnp.bfloat16),
        DiffusersUNet(),
        ResidualUNet(),
    ],
    ids=["UNet", "bfloat16", "DiffusersUNet", "ResidualUNet"],
)
def test_networks_lower_for_cpu_cuda_and_tpu(net):
    prior = rd.priors.NetPrior(schedule=rd.schedules.linear(), params=parameter_shapes(net), net=net)
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    _lower(lambda prior, x: jax.vmap(lambda x: prior.eps(x, 10))(x), prior, images)
