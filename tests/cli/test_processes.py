"""How a command spreads over processor cores."""

import os
import subprocess
import sys

import pytest

PROGRAM = "from reddiff_jax.cli._processes import use_cores; use_cores(); import jax; print(jax.local_device_count())"


def number_of_devices(**environment: str) -> int:
    """In a process of its own, whose JAX has not begun."""
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    kept |= {"JAX_PLATFORMS": "cpu"}
    return int(subprocess.check_output([sys.executable, "-c", PROGRAM], env=kept | environment, text=True))


@pytest.mark.slow
@pytest.mark.cpu_only
def test_cores_become_devices():
    number = number_of_devices()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert min(cores, 8) / 2 < number <= min(cores, 8)
    assert number.bit_count() == 1


@pytest.mark.slow
@pytest.mark.cpu_only
def test_restore_asks_for_its_devices_before_jax_begins(tmp_path):
    code = (
        "import os; os.sched_getaffinity = lambda pid: range(4)\n"
        "from reddiff_jax import jobs; from reddiff_jax.cli import app\n"
        "def restore(*args, **options):\n"
        "    import jax; print(jax.local_device_count()); raise SystemExit\n"
        "jobs.restore = restore\n"
        f"app(['restore', '.', '--task', 'denoise', '--sigma', '0.1', '--out', {str(tmp_path)!r}])"
    )
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    assert subprocess.check_output([sys.executable, "-c", code], env=kept, text=True) == "4\n"


@pytest.mark.slow
@pytest.mark.cpu_only
@pytest.mark.parametrize(
    "chosen", [{"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, {"JAX_NUM_CPU_DEVICES": "3"}]
)
def test_a_number_that_the_user_chose_stays(chosen):
    assert number_of_devices(**chosen) == 3
