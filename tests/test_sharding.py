"""Batches over a mesh: the single device's results, and no communication."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import OPERATORS, SOLVERS
from jax.sharding import NamedSharding, PartitionSpec
from pairs import SOLVER_CASES, every_operator, make_problem, make_solver

import reddiff_jax as rd
from reddiff_jax import io
from reddiff_jax.nets import UNet, parameter_shapes

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="needs 8 devices")

COLLECTIVES = "all-gather|all-reduce|all-to-all|collective-permute|collective-broadcast|reduce-scatter"
REDDIFF = next(case for case in SOLVERS if case.name == "reddiff")
BLUR = next(case for case in OPERATORS if case.name == "blur_circular")
# A product, a convolution's like, Fourier transforms, and what is not linear.
FEW = [c for c in OPERATORS if c.name in ("super_resolution4", "blur_circular", "phase_retrieval")]

plain = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((8,), ("batch",))


@pytest.fixture(scope="module")
def sharded(mesh):
    return rd.shard_vmap(rd.run, mesh, (0, None, 0))


def _arguments(solver_case, operator_case):
    problems = rd.stack([make_problem(operator_case, seed) for seed in (0, 1)] * 4)
    return jax.random.split(jax.random.key(0), 8), make_solver(solver_case, operator_case), problems


def _compiled(fn, *args):
    # Without what says where arrays are: they are of one device here.
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args)
    return jax.jit(fn).lower(*shapes).compile()


def _communicating(text: str) -> list[str]:
    """A compiled program's lines that communicate."""
    return [line for line in text.splitlines() if re.search(rf"\b({COLLECTIVES})(-start)?\(", line)]


def _refuses(*args) -> bool:
    try:
        jax.eval_shape(plain, *args)
    except TypeError:
        return True
    return False


@pytest.fixture(scope="module")
def blurred():
    return _arguments(REDDIFF, BLUR)


@pytest.fixture(scope="module")
def alone(blurred):
    return plain(*blurred)


@pytest.mark.slow
def test_a_sharded_batch_is_the_batch_of_one_device(blurred, alone, sharded):
    x = sharded(*blurred).x
    assert len(x.sharding.device_set) == 8
    # Another batch size fuses otherwise: float32 roundings of pictures of order 1.
    np.testing.assert_allclose(x, alone.x, atol=1e-5)


def test_arguments_are_moved_from_wherever_they_are(blurred, alone, sharded, mesh):
    keys, solver, problems = blurred
    keys = jax.device_put(keys, jax.devices()[3])
    solver = jax.device_put(solver, NamedSharding(mesh, PartitionSpec()))
    np.testing.assert_allclose(sharded(keys, solver, problems).x, alone.x, atol=1e-5)


def test_items_of_a_sharded_batch_can_be_taken(blurred, alone, sharded):
    np.testing.assert_allclose(sharded(*blurred).x[5], alone.x[5], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("progress", [False, True])
def test_run_many_spreads_its_batches(blurred, mesh, progress):
    _, solver, problems = blurred
    items = [jax.tree.map(lambda leaf, i=i: leaf[i], problems) for i in range(3)]
    key = jax.random.key(1)
    spread = [s.x for s in rd.run_many(key, solver, items, batch_size=8, mesh=mesh, progress=progress)]
    np.testing.assert_allclose(spread, [s.x for s in rd.run_many(key, solver, items, batch_size=2)], atol=1e-5)


@pytest.mark.slow
@pytest.mark.cpu_only
def test_two_hosts_of_four_devices_share_a_batch():
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    script = Path(__file__).parent / "one_of_two_hosts.py"
    hosts = [
        subprocess.Popen([sys.executable, str(script), address, str(i)], stdout=subprocess.PIPE, text=True)
        for i in range(2)
    ]
    try:
        for host in hosts:
            # In other batch sizes the programs may round otherwise: float32, pictures of order 1.
            assert float(host.communicate(timeout=300)[0].splitlines()[-1]) <= 1e-5
            assert host.returncode == 0
    finally:
        for host in hosts:
            host.kill()


def test_a_batch_that_cannot_be_divided_is_an_error_that_says_what_to_do(blurred, sharded):
    keys, solver, problems = blurred
    with pytest.raises(ValueError, match=r"a batch of 3 cannot be divided among 8 devices.*run_many"):
        sharded(keys[:3], solver, problems)


def test_a_batch_size_that_cannot_be_divided_is_an_error_of_the_call(blurred, mesh):
    with pytest.raises(ValueError, match="multiple of the mesh's 8 devices"):
        rd.run_many(blurred[0][0], blurred[1], [], batch_size=12, mesh=mesh)


def test_an_axis_that_the_mesh_lacks_is_an_error(mesh):
    with pytest.raises(ValueError, match="'model'"):
        rd.shard_vmap(rd.run, mesh, (0, None, 0), axis="model")


@pytest.mark.slow
def test_xla_alone_would_gather_the_batch_for_fourier_transforms(blurred, mesh):
    keys, solver, problems = blurred
    over = NamedSharding(mesh, PartitionSpec("batch"))
    lowered = plain.lower(jax.device_put(keys, over), solver, jax.device_put(problems, over))
    assert "all-gather" in lowered.compile().as_text()


@pytest.mark.slow
@every_operator
def test_no_operator_communicates(operator_case, sharded):
    arguments = _arguments(REDDIFF, operator_case)
    assert _communicating(_compiled(sharded, *arguments).as_text()) == []


@pytest.mark.slow
@pytest.mark.parametrize("operator_case", FEW, ids=lambda case: case.name)
@pytest.mark.parametrize("solver_case", SOLVER_CASES, ids=lambda case: case.name)
def test_no_solver_communicates_and_each_gives_one_device_s_result(solver_case, operator_case, sharded, x64):
    arguments = _arguments(solver_case, operator_case)
    if _refuses(*arguments):
        return
    compiled = _compiled(sharded, *arguments)
    assert _communicating(compiled.as_text()) == []
    x, one = compiled(*arguments).x, plain(*arguments).x
    assert len(x.sharding.device_set) == 8
    # In float64, as some steps amplify roundings: a truncated pinv, conjugate gradients, and Adam with small gradients.
    np.testing.assert_allclose(x, one, rtol=0, atol=1e-10 * float(jnp.abs(one).max()))


@pytest.fixture(scope="module")
def big_net():
    """A solver whose network counts as one that fits no device."""
    net = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1,))
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(net)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0.02, 0.1, leaf.shape), jnp.float32), shapes)
    prior = rd.priors.NetPrior(schedule=rd.schedules.linear(), params=params, net=net)
    return rd.reddiff(prior, init=rd.solvers.init_zeros, num_steps=2)


@pytest.mark.slow
def test_parameters_may_be_split_over_an_axis_of_their_own(big_net, blurred):
    keys, _, problems = blurred
    mesh = jax.make_mesh((2, 4), ("batch", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    place = io.along_largest_axis(mesh, "model")
    split = jax.tree.map(lambda leaf: jax.device_put(leaf, place("", leaf.shape)), big_net.prior.params)
    solver = big_net.replace(prior=big_net.prior.replace(params=split))
    sharded = rd.shard_vmap(rd.run, mesh, (0, None, 0), axis="batch")
    one = plain(keys, big_net, problems).x
    # Partial sums over 4 devices round otherwise, through some twenty layers.
    np.testing.assert_allclose(sharded(keys, solver, problems).x, one, atol=1e-4)


def _groups(line: str) -> np.ndarray:
    """The devices that communicate with each other, (groups, devices)."""
    if pairs := re.search(r"source_target_pairs=\{(\{.*?\})\}", line):
        return np.array([[int(n) for n in pair.split(",")] for pair in re.findall(r"\{([\d,]+)\}", pairs[1])])
    if listed := re.search(r"replica_groups=\{(\{.*?\})\}", line):
        return np.array([[int(n) for n in group.split(",")] for group in re.findall(r"\{([\d,]+)\}", listed[1])])
    shape, source, order = re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", line).groups()
    ids = np.arange(8).reshape([int(n) for n in source.split(",")])
    ids = ids.transpose([int(n) for n in order.split(",")]) if order else ids
    return ids.reshape([int(n) for n in shape.split(",")])


@pytest.mark.slow
def test_a_split_network_communicates_along_its_axis_only(big_net, blurred):
    keys, _, problems = blurred
    mesh = jax.make_mesh((2, 4), ("batch", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    place = io.along_largest_axis(mesh, "model")
    split = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place("", leaf.shape)), big_net.prior.params
    )
    solver = big_net.replace(prior=big_net.prior.replace(params=split))
    sharded = rd.shard_vmap(rd.run, mesh, (0, None, 0), axis="batch")
    over = NamedSharding(mesh, PartitionSpec("batch"))
    lowered = jax.jit(sharded).lower(jax.device_put(keys, over), solver, jax.device_put(problems, over))
    lines = _communicating(lowered.compile().as_text())
    assert lines
    for line in lines:
        assert (np.ptp(_groups(line) // 4, axis=1) == 0).all()
