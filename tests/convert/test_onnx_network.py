"""A published trained network in another format: its converted weights give what its own runtime gives.

The file has guided-diffusion's names. Its exporter folded the scale and bias of each normalisation into constants
without names, and the graph has around the UNet what ours does not: the preconditioning of a consistency model (Song et
al. 2023, arXiv 2303.01469), timesteps ``250 log(sigma)``, and in place of classes a small network of one number.
"""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_files import write_checkpoint

from reddiff_jax import io
from reddiff_jax.converting import convert

pytestmark = pytest.mark.oracle
FILE = "terrain_consistency_unet_difficulty100.onnx"
SIGMA_DATA, SIGMA_MIN = 0.5, 0.002
DIFFICULTIES = np.array([0.0, 0.3, 1.0], np.float32)
# (name of the convolution that follows a normalisation, the normalisation's own)
NORMALISATIONS = (
    ("in_layers.2.weight", "in_layers.0"),
    ("out_layers.3.weight", "out_layers.0"),
    ("qkv.weight", "norm"),
    ("out.2.weight", "out.0"),
)


@pytest.fixture(scope="module")
def path() -> Path:
    # Not imported: the package needs more than its weights do.
    spec = importlib.util.find_spec("terrain_diffusion")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("adaptive-terrain-diffusion is not installed")
    return Path(spec.submodule_search_locations[0]) / "weights" / FILE


@pytest.fixture(scope="module")
def graph(path):
    return pytest.importorskip("onnx").load(path).graph


@pytest.fixture(scope="module")
def arrays(graph) -> dict[str, np.ndarray]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


@pytest.fixture(scope="module")
def state_dict(graph, arrays) -> dict[str, np.ndarray]:
    """The tensors by their names, normalisations unfolded; a class for each difficulty, for the small network."""
    state = {
        name.removeprefix("network."): array
        for name, array in arrays.items()
        if name.startswith("network.") and not name.startswith("network.label_emb")
    }
    folded: list[np.ndarray] = []
    for i, node in enumerate(graph.node):
        if node.op_type == "InstanceNormalization":
            # Reshape, Shape, Reshape, then the scale and the bias
            scale, bias = (next(n for n in graph.node[i:] if n.op_type == kind) for kind in ("Mul", "Add"))
            folded = [arrays[node.input[1]].ravel() for node in (scale, bias)]
        elif node.op_type == "Conv" and folded:
            name = node.input[1].removeprefix("network.")
            suffix, own = next(pair for pair in NORMALISATIONS if name.endswith(pair[0]))
            own = name.removesuffix(suffix) + own
            state[f"{own}.weight"], state[f"{own}.bias"] = folded
            folded = []
    (w_0, b_0), (w_2, b_2) = (
        (arrays[f"network.label_emb.{i}.weight"], arrays[f"network.label_emb.{i}.bias"]) for i in (0, 2)
    )
    hidden = DIFFICULTIES[:, None] @ w_0.T + b_0[None]  # (classes, 4 * model_channels)
    state["label_emb.weight"] = hidden / (1 + np.exp(-hidden)) @ w_2.T + b_2[None]
    return state


@pytest.fixture(scope="module")
def head_channels(graph, arrays) -> int:
    """Of the first attention: q is reshaped to (batch * heads, channels of a head, pixels)."""
    makers = {node.output[0]: node for node in graph.node}
    attention = next(node for node in graph.node if node.op_type == "Einsum")
    return int(arrays[makers[makers[attention.input[0]].input[1]].input[1]][0])


def test_the_converted_network_gives_what_onnxruntime_gives(path, state_dict, head_channels, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    file = write_checkpoint(tmp_path / "terrain.pt", {name: np.ascontiguousarray(a) for name, a in state_dict.items()})
    # Its attention splits q, k and v before the heads.
    card = convert(file, tmp_path / "out", head_channels=head_channels, new_attention_order=True, schedule="linear")
    assert 10e6 < card["num_parameters"] < 11e6
    net, params = (prior := io.load_prior(tmp_path / "out")).net, prior.params

    rng = np.random.default_rng(0)
    sigmas, labels = np.array([0.1, 2.0, 80.0], np.float32), np.array([0, 2, 1])
    clean = rng.uniform(-0.5, 0.5, (3, 1, 1, 1))
    noisy = (clean + sigmas[:, None, None, None] * rng.standard_normal((3, 128, 128, 1))).astype(np.float32)

    @jax.jit
    @jax.vmap
    def denoise(noisy, sigma, label):
        scale = 1 / jnp.sqrt(sigma**2 + SIGMA_DATA**2)
        output = net.apply({"params": params}, scale * noisy, 250 * jnp.log(sigma), label)
        c_skip = SIGMA_DATA**2 / ((sigma - SIGMA_MIN) ** 2 + SIGMA_DATA**2)
        return c_skip * noisy + SIGMA_DATA * (sigma - SIGMA_MIN) * scale * output

    ours = denoise(noisy, sigmas, labels)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {"noisy": np.moveaxis(noisy, -1, 1), "sigma": sigmas, "difficulty": DIFFICULTIES[labels]}
    (theirs,) = session.run(None, inputs)
    assert np.mean(np.abs(theirs) < 1) > 0.5  # where they are not clipped
    ours, theirs = np.clip(np.moveaxis(ours, -1, 1), -1, 1), np.asarray(theirs)
    # float32: 6e-8 a rounding, times the gain of some hundred layers in a row
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
