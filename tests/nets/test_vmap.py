"""The network for one sample, batched by vmap, is the network written for a batch."""

import numpy as np
import pytest

from benchmarks import vmap


@pytest.mark.slow
def test_vmap_compiles_to_the_work_of_a_network_written_for_a_batch():
    compiled, arguments = vmap.both(vmap.NET, 3, 8)
    ours, reference = compiled["vmap"], compiled["written for a batch"]
    output = reference(*arguments)
    # Float32 roundings through some ten blocks, relative to the largest value.
    np.testing.assert_allclose(ours(*arguments), output, atol=1e-4 * float(np.abs(output).max()))
    # They differ in how group normalisation is written, which is a per cent of the work.
    assert ours.cost_analysis()["flops"] <= 1.02 * reference.cost_analysis()["flops"]
