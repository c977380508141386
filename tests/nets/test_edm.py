"""EDM's networks: parity with an implementation that nobody here wrote, published sizes, and a way from its files."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import reddiff_jax as rd
from reddiff_jax import io
from reddiff_jax.converting import CheckpointError, convert
from reddiff_jax.converting.edm import choose_net, to_params
from reddiff_jax.nets import DhariwalUNet, SongUNet, parameter_count, parameter_shapes
from tests.convert.checkpoint_files import write_checkpoint

SIZE = 16
DHARIWAL = {"model_type": "DhariwalUNet", "model_channels": 32, "channel_mult": [1, 2], "num_blocks": 1}
SONG = {"model_type": "SongUNet", "model_channels": 16, "channel_mult": [1, 2], "num_blocks": 1}
NCSN = {
    "embedding_type": "fourier",
    "encoder_type": "residual",
    "channel_mult_noise": 2,
    "resample_filter": [1, 3, 3, 1],
}
ONE = {"num_res_blocks": 1, "attention_levels": (1,)}
NETWORKS = {
    "adm": ({**DHARIWAL, "attn_resolutions": [8]}, DhariwalUNet(model_channels=32, channel_mult=(1, 2), **ONE)),
    "adm_classes": (
        {**DHARIWAL, "attn_resolutions": [8], "label_dim": 5, "augment_dim": 9},
        DhariwalUNet(model_channels=32, channel_mult=(1, 2), num_classes=5, **ONE),
    ),
    "ddpmpp": ({**SONG, "attn_resolutions": [8]}, SongUNet(model_channels=16, channel_mult=(1, 2), **ONE)),
    "ddpmpp_all_levels": (
        {**SONG, "attn_resolutions": [16, 8], "num_blocks": 2},
        SongUNet(model_channels=16, channel_mult=(1, 2), num_res_blocks=2, attention_levels=(0, 1)),
    ),
    "ddpmpp_classes": (
        {**SONG, "attn_resolutions": [8], "label_dim": 5, "augment_dim": 9},
        SongUNet(model_channels=16, channel_mult=(1, 2), num_classes=5, **ONE),
    ),
    "ncsnpp": (
        {**SONG, **NCSN, "attn_resolutions": [8]},
        SongUNet(
            model_channels=16,
            channel_mult=(1, 2),
            fourier=True,
            noise_mult=2,
            residual_encoder=True,
            resample_filter=(1.0, 3.0, 3.0, 1.0),
            **ONE,
        ),
    ),
    "complex": (
        {**SONG, "attn_resolutions": [8], "img_channels": 2},
        SongUNet(in_channels=2, out_channels=2, model_channels=16, channel_mult=(1, 2), **ONE),
    ),
    "gray": (
        {**SONG, "attn_resolutions": [], "img_channels": 1},
        SongUNet(
            in_channels=1, out_channels=1, model_channels=16, channel_mult=(1, 2), num_res_blocks=1, attention_levels=()
        ),
    ),
}


@pytest.fixture
def published():
    """Makes the published network of a configuration, with random weights, none of them zero."""
    physicsnemo, torch = oracles.physicsnemo(), pytest.importorskip("torch")

    def make(options):
        torch.manual_seed(0)
        options = {"img_resolution": SIZE, "img_channels": 3, "dropout": 0.0, **options}
        module = physicsnemo.EDMPrecond(**options)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.normal_(0, 0.1)
        # In training mode its normalisation is PyTorch's; otherwise one of its own, with another variance.
        return module.train()

    return make


def _state(module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "ncsnpp" else pytest.mark.slow) for n in NETWORKS])
def test_output_equals_the_published_networks(name, published, rng):
    torch = pytest.importorskip("torch")
    options, net = NETWORKS[name]
    module = published(options)
    tensors = {key.removeprefix("model."): value for key, value in _state(module).items()}
    assert choose_net(tensors) == net
    params, apply = jax.tree.map(jnp.asarray, to_params(tensors, net)), jax.jit(net.apply)
    for sigma in (0.01, 0.7, 30.0):
        x = rng.normal(scale=1 + sigma, size=(SIZE, SIZE, net.in_channels)).astype(np.float32)
        labels = torch.eye(5)[[3]] if net.num_classes else None
        with torch.no_grad():
            theirs = module(torch.from_numpy(x).movedim(-1, 0)[None], torch.tensor([sigma]), class_labels=labels)
        ours = apply({"params": params}, jnp.asarray(x), jnp.float32(sigma), 3 if net.num_classes else None)
        theirs = theirs[0].movedim(0, -1).numpy()
        # float32, summed in other orders
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["adm", "ncsnpp"])
def test_a_file_under_ema_becomes_a_prior_of_any_schedule(name, published, tmp_path, rng):
    torch = pytest.importorskip("torch")
    options, net = NETWORKS[name]
    module = published(options)
    torch.save({"ema": module.state_dict(), "step": 3}, tmp_path / "a.pt")
    card = convert(tmp_path / "a.pt", tmp_path / "out")
    assert (card["architecture"]["type"], card["prediction"]) == (type(net).__name__, "x0")
    prior = io.load_prior(tmp_path / "out")
    sigma = float(prior.schedule(600)[1])
    x = rng.normal(size=(SIZE, SIZE, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x).movedim(-1, 0)[None], torch.tensor([sigma]))[0].movedim(0, -1).numpy()
    np.testing.assert_allclose(prior.denoise(jnp.asarray(x), 600), theirs, atol=1e-4)  # float32
    other = prior.replace(schedule=rd.schedules.linear())
    t = other.schedule.fractional(sigma)
    np.testing.assert_allclose(other.denoise(other.schedule(t)[0] * x, t), theirs, atol=1e-3)  # of eps and back


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "count"),
    [
        (DhariwalUNet(num_classes=1000), 295_899_267),
        (SongUNet(channel_mult=(2, 2, 2), attention_levels=(1,)), 55_732_739),
        (SongUNet(channel_mult=(1, 2, 2, 2), attention_levels=(2,)), 61_804_419),
    ],
    ids=["imagenet64_adm", "cifar10_ddpmpp", "ffhq64_ddpmpp"],
)
def test_published_configurations_have_their_number_of_parameters(net, count):
    # Karras et al. 2022: 296, 56 and 62 million.
    assert parameter_count(net) == count


def _published_names(net, sizes) -> dict[str, np.ndarray]:
    """A state dict with published names and no numbers to speak of."""
    names = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(parameter_shapes(net)):
        *groups, last = (key.key for key in path)
        if groups[0][:4] in ("enc_", "dec_"):
            part, level, block = groups[0].split("_", 2)
            groups[0] = f"{part}.{sizes[int(level)]}x{sizes[int(level)]}_{block}"
        shape = leaf.shape
        if last == "kernel":
            shape = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]
            of_pixels = len(shape) == 2 and groups[-1] in ("qkv", "proj")
            shape = (*shape, 1, 1) if of_pixels else shape
        names[".".join(["model", *groups, "bias" if last == "bias" else "weight"])] = np.full(shape, 0.01, np.float32)
    return names


def test_a_file_is_converted_without_pytorch(tmp_path):
    net = DhariwalUNet(model_channels=32, channel_mult=(1, 2), **ONE)
    write_checkpoint(tmp_path / "a.pt", _published_names(net, (16, 8)))
    card = convert(tmp_path / "a.pt", tmp_path / "out")
    assert card["schedule"] == {"name": "EDM, sigma 0.002..80", "num_timesteps": 1000}
    assert (card["image_channels"], card["learned_variance_channels"]) == (3, 0)
    prior = io.load_prior(tmp_path / "out")
    assert prior.net == net
    assert jax.eval_shape(prior.eps, jnp.ones((13, 16, 3)), 500).shape == (13, 16, 3)  # padded


def test_options_and_parts_that_do_not_belong_to_it_are_refused(tmp_path):
    tensors = _published_names(SongUNet(model_channels=16, channel_mult=(1, 2), **ONE), (16, 8))
    write_checkpoint(tmp_path / "a.pt", tensors)
    with pytest.raises(CheckpointError, match=r"tell all of it; leave out --heads and --schedule"):
        convert(tmp_path / "a.pt", tmp_path / "out", heads=1, schedule="linear")
    skip = {**tensors, "model.enc.8x8_aux_skip.weight": np.ones((16, 3, 1, 1), np.float32)}
    write_checkpoint(tmp_path / "b.pt", skip)
    with pytest.raises(CheckpointError, match=r"a SongUNet with aux_skip .* knows the standard and the residual"):
        convert(tmp_path / "b.pt", tmp_path / "out")
    del tensors["model.enc.8x8_block0.conv0.weight"]
    write_checkpoint(tmp_path / "c.pt", tensors)
    with pytest.raises(CheckpointError, match="has names of an EDM network, but lacks some"):
        convert(tmp_path / "c.pt", tmp_path / "out")


@pytest.mark.slow
def test_the_preconditioned_network_leaves_a_picture_without_noise_as_it_is(key):
    net = SongUNet(model_channels=16, channel_mult=(1, 2), **ONE)
    params = jax.tree.map(lambda leaf: 0.1 * jnp.ones(leaf.shape), parameter_shapes(net))
    x = jax.random.normal(key, (8, 8, 3))
    np.testing.assert_allclose(
        jax.jit(net.apply)({"params": params}, x, 1e-6), x, atol=1e-4
    )  # c_skip = 1, c_out = 1e-6
