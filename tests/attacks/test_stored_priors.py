"""Stored priors that were damaged or made up: what loads is what was saved, or it does not load."""

import json
import random
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("hypothesis")
from mutations import flipped, is_one_line

import reddiff_jax as rd
from reddiff_jax import cards, io
from reddiff_jax.cards import CARD, WEIGHTS
from reddiff_jax.converting import CheckpointError, convert
from reddiff_jax.converting.guided_diffusion import PUBLISHED
from reddiff_jax.nets import DiffusersUNet, EncoderUNet, ResidualUNet, UNet, parameter_shapes
from tests.convert.checkpoint_files import write_checkpoint
from tests.convert.state_dicts import state_dict

GUIDED = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1,), middle_attention=False)
NET = ResidualUNet(widths=(8,), num_res_blocks=1, patch_size=1)


def make_prior(net=NET, fill: float | None = None):
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) if fill is None else np.full(leaf.shape, fill), "float32"),
        parameter_shapes(net),
    )
    return rd.priors.NetPrior(schedule=rd.schedules.cosine(20), params=params, net=net, to_eps=rd.from_v)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("priors") / "tiny"
    rd.save_prior(make_prior(), folder, card={"note": "a note"})
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The folder that a checkpoint was converted to."""
    folder = tmp_path_factory.mktemp("converted")
    convert(write_checkpoint(folder / "a.pt", state_dict(GUIDED)), folder / "prior", schedule="linear")
    return folder / "prior"


def flip_one_bit(source, target, rng):
    """Copies a prior with one bit flipped, somewhere in all of its bytes; returns the file's name."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    (path,) = rng.choices(files, [file.stat().st_size for file in files])
    path.write_bytes(flipped(path.read_bytes(), rng))
    return path.relative_to(target).as_posix()


def refusals(source, tmp_path, count, load) -> int:
    rng, refused = random.Random(0), 0
    for _ in range(count):
        name = flip_one_bit(source, tmp_path / "flipped", rng)
        with pytest.raises(ValueError, match=r"is not |are damaged|has format|says prediction|lists no") as error:
            load(tmp_path / "flipped")
        assert is_one_line(error.value), name
        refused += 1
    return refused


def check_only(folder):
    """What ``load_prior`` compares before it reads an array."""
    cards.check_files(folder, io.read_card(folder))


# ---- flipped bits


def test_flipped_bits_are_refused(saved, tmp_path):
    assert refusals(saved, tmp_path, 50, rd.load_prior) == 50


@pytest.mark.slow
@pytest.mark.parametrize("name", io.bundled_priors())
def test_a_hundred_flipped_bits_of_a_bundled_prior_are_refused(name, tmp_path):
    assert refusals(io.find_prior(name), tmp_path, 100, rd.load_prior) == 100


@pytest.mark.parametrize("name", io.bundled_priors())
def test_bundled_priors_are_what_their_cards_list(name):
    check_only(io.find_prior(name))


def test_every_file_of_a_prior_is_listed(saved):
    files = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert set(io.read_card(saved)["files"]) == files - {CARD}


@pytest.mark.parametrize("file", ["swapped", "emptied", "gone", "more"])
def test_files_that_are_not_those_listed_are_refused(file, copied):
    one, two = sorted((copied / WEIGHTS).rglob("d/*"))[:2]
    match file:
        case "swapped":
            content = one.read_bytes()
            one.write_bytes(two.read_bytes())
            two.write_bytes(content)
        case "emptied":
            one.write_bytes(b"")
        case "gone":
            one.unlink()
        case "more":
            (one.parent / "more").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"incomplete|damaged|does not list"):
        rd.load_prior(copied)


def assert_same_prior(one, other):
    one, other = rd.load_prior(one), rd.load_prior(other)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert all(np.array_equal(*leaves) for leaves in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_what_an_operating_system_leaves_in_folders_is_no_file_of_the_prior(saved, copied):
    (copied / WEIGHTS / ".DS_Store").write_bytes(b"x")
    assert_same_prior(copied, saved)


# ---- cards that were edited


def edit(folder, **changes):
    card = json.loads((folder / CARD).read_text()) | changes
    (folder / CARD).write_text(json.dumps(card))


@pytest.mark.parametrize("change", [{"stored_dtype": "bfloat16"}, {"note": "another note"}, {"prediction": "eps"}])
def test_a_card_that_was_edited_is_refused_until_it_is_sealed(change, copied):
    edit(copied, **change)
    with pytest.raises(ValueError, match=r"is not what was written: its own SHA-256 differs\. .*io\.seal\("):
        rd.load_prior(copied)


def test_a_card_may_be_written_with_other_spaces(saved, copied):
    edit(copied)
    assert (copied / CARD).read_bytes() != (saved / CARD).read_bytes()
    assert_same_prior(copied, saved)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_another_type_than_the_arrays_own_is_refused(dtype, copied):
    edit(copied, stored_dtype=dtype)
    io.seal(copied)
    with pytest.raises(ValueError, match=rf"is float32, but stored_dtype says {dtype}"):
        rd.load_prior(copied)


ARCHITECTURES = {
    "deep": (UNet(num_res_blocks=300), "num_res_blocks is 300 but must be a whole number from 1 to 32"),
    "many blocks": (UNet(num_res_blocks=32, channel_mult=(1,) * 10), "652 residual blocks are more than the 128"),
    "wide": (UNet(model_channels=10**9), "model_channels is 1000000000 but must be"),
    "classes": (UNet(num_classes=10**12), "num_classes is 1000000000000 but must be"),
    "levels": (ResidualUNet(widths=(8,) * 60), "widths is .* but must be a list of 1 to 10"),
    "layers": (DiffusersUNet(layers_per_block=31), "254 residual blocks are more than the 128"),
    "size": (EncoderUNet(image_size=10**9, num_head_channels=32), "image_size is 1000000000 but must be"),
    "fraction": (UNet(num_heads=1.5), r"num_heads is 1\.5 but must be"),
    "text": (UNet(dropout="0.1"), 'dropout is "0.1" but must be'),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_card_cannot_ask_for_any_amount_of_work(name):
    net, said = ARCHITECTURES[name]
    began = time.process_time()
    with pytest.raises(ValueError, match=f"the card's architecture does not fit {type(net).__name__}: .*{said}"):
        io.net_from_card(json.loads(json.dumps(io.describe_net(net))))
    assert time.process_time() - began < 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_obey_the_rules(name):
    net = PUBLISHED[name]()
    assert io.net_from_card(json.loads(json.dumps(io.describe_net(net)))) == net


@pytest.mark.parametrize("kind", [UNet, EncoderUNet, DiffusersUNet, ResidualUNet])
def test_every_field_of_a_network_has_a_rule(kind):
    rules = cards._RULES_OF_NETS[kind.__name__]
    assert set(io.describe_net(kind())) == {"type", *rules}


@pytest.mark.parametrize("name", ["deep", "fraction"])
def test_what_could_not_be_read_back_is_not_written(name, tmp_path):
    net, said = ARCHITECTURES[name]
    with pytest.raises(ValueError, match=said):
        rd.save_prior(make_prior().replace(net=net), tmp_path / "prior")
    assert list(tmp_path.iterdir()) == []


def test_an_architecture_that_makes_no_network_is_one_line(copied):
    card = io.read_card(copied)
    edit(copied, architecture={**io.describe_net(UNet(model_channels=33))}, num_parameters=card["num_parameters"])
    io.seal(copied)
    with pytest.raises(ValueError, match="makes no UNet") as error:
        rd.load_prior(copied)
    assert is_one_line(error.value)


def test_arrays_that_the_files_cannot_hold_are_refused(copied):
    edit(copied, architecture=io.describe_net(ResidualUNet(widths=(8192,) * 3)))
    io.seal(copied)
    with pytest.raises(ValueError, match=r"bytes, which files of [\d,]+ bytes cannot hold"):
        rd.load_prior(copied)


# ---- numbers that are none


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_not_saved(number, tmp_path):
    prior = make_prior()
    prior.params["head"]["kernel"] = prior.params["head"]["kernel"].at[0, 0, 0, 0].set(number)
    with pytest.raises(ValueError, match="1 numbers of params/head/kernel are not finite in float32; nothing was"):
        rd.save_prior(prior, tmp_path / "prior")
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_the_range_of_their_type_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match="are not finite in float16"):
        rd.save_prior(make_prior(fill=1e5), tmp_path / "prior", dtype=jnp.float16)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_weights_that_are_not_finite_are_not_loaded(dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(io, "_not_finite", lambda arrays: [])
    rd.save_prior(make_prior(fill=np.nan), tmp_path / "prior", dtype=dtype)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"numbers of params/.* are not finite"):
        rd.load_prior(tmp_path / "prior")


def test_a_checkpoint_that_is_not_finite_is_not_converted(tmp_path):
    state = state_dict(GUIDED)
    name = next(iter(state))
    state[name] = np.full_like(state[name], np.inf)
    path = write_checkpoint(tmp_path / "a.pt", state)
    with pytest.raises(CheckpointError, match=r"are not finite in float32\. Download it again"):
        convert(path, tmp_path / "prior", schedule="linear")
    assert [each.name for each in tmp_path.iterdir()] == ["a.pt"]


def test_flipped_bits_of_a_converted_prior_are_refused(converted, tmp_path):
    assert refusals(converted, tmp_path, 20, check_only) == 20


@pytest.mark.slow
def test_a_hundred_flipped_bits_of_a_converted_prior_are_refused(converted, tmp_path):
    assert refusals(converted, tmp_path, 100, rd.load_prior) == 100


# ---- what the card says of its making


def test_a_card_names_the_versions_that_wrote_it(saved):
    versions = io.read_card(saved)["versions"]
    assert versions == {"reddiff_jax": rd.__version__, "jax": jax.__version__, "jaxlib": jax.lib.__version__}
