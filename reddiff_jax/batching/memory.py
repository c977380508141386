"""Memory that a program needs, and that there is."""

import math
import os
from pathlib import Path
from typing import Any

import jax


class OutOfMemoryError(RuntimeError):
    """A batch does not fit into the memory of its devices."""


def memory_of(compiled: Any) -> int:
    """Bytes that a compiled function needs on each device, arguments included; 0 where the platform tells nothing."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    inputs_and_outputs = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return inputs_and_outputs + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes


def device_memory(num_devices: int | None = None) -> float:
    """Bytes of memory of one of some local devices that work at once; infinite where the platform tells nothing.

    Args:
        num_devices: How many; all if None. CPU devices share the memory of the host.
    """
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    limits = []
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    container = Path("/sys/fs/cgroup/memory.max")
    if container.is_file() and (said := container.read_text().strip()).isdigit():
        limits.append(int(said))
    return min(limits, default=math.inf) / (num_devices or jax.local_device_count())
