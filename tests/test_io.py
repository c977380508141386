"""Priors on disk: what comes back is what was saved, and what cannot be read says why."""

import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import NamedSharding, PartitionSpec

import reddiff_jax as rd
from reddiff_jax import cards, io, schedules
from reddiff_jax.nets import EncoderUNet, UNet

NET = UNet(
    in_channels=3,
    out_channels=6,
    model_channels=32,
    num_res_blocks=1,
    channel_mult=(1, 2),
    attention_downsamples=(2,),
    num_classes=4,
)


@pytest.fixture(scope="module")
def prior():
    """A tiny class-conditional network with random weights, on a schedule that is not the usual one."""
    leaves, structure = jax.tree.flatten(io.abstract_params(NET))
    rng = np.random.default_rng(0)
    params = structure.unflatten([jnp.asarray(0.1 * rng.normal(size=leaf.shape), jnp.float32) for leaf in leaves])
    return rd.priors.NetPrior(schedule=schedules.cosine(200), params=params, net=NET, to_eps=rd.from_v)


@pytest.fixture(scope="module")
def saved(prior, tmp_path_factory):
    folder = tmp_path_factory.mktemp("priors") / "tiny"
    rd.save_prior(prior, folder, card={"data": "none", "schedule": {"name": "cosine"}, "format": 99})
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    """The folder, to be broken."""
    return shutil.copytree(saved, tmp_path / "copy")


def _edit(folder, **changes):
    card = json.loads((folder / io.CARD).read_text())
    for path, value in changes.items():
        node = card
        *parents, last = path.split("__")
        for parent in parents:
            node = node[parent]
        if value is None:
            del node[last]
        else:
            node[last] = value
    _write(folder, card)


def _write(folder, card):
    """Writes a card whose own hash is right, so that what else is wrong with it is found."""
    card.pop("sha256", None)
    (folder / io.CARD).write_text(json.dumps({**card, "sha256": cards._digest(card)}))


# ---- round trip


def test_arrays_come_back_bit_for_bit(prior, saved):
    loaded = rd.load_prior(saved)
    assert jax.tree.structure(loaded) == jax.tree.structure(prior)
    assert all(map(np.array_equal, jax.tree.leaves(loaded), jax.tree.leaves(prior)))


def test_network_and_prediction_come_back(prior, saved):
    loaded = rd.load_prior(saved)
    assert (loaded.net, loaded.to_eps) == (prior.net, prior.to_eps)


@pytest.mark.parametrize("to_eps", [rd.from_eps, rd.from_x0, rd.from_score], ids=lambda f: f.__name__)
def test_every_prediction_comes_back(to_eps, prior, tmp_path):
    rd.save_prior(prior.replace(to_eps=to_eps), tmp_path / "prior")
    assert rd.load_prior(tmp_path / "prior").to_eps is to_eps


@pytest.mark.slow
def test_bfloat16_rounds_the_parameters_once(prior, tmp_path):
    rd.save_prior(prior, tmp_path / "half", dtype=jnp.bfloat16)
    loaded = rd.load_prior(tmp_path / "half")
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16).astype(jnp.float32), prior.params)
    assert all(map(np.array_equal, jax.tree.leaves(loaded.params), jax.tree.leaves(rounded)))


@pytest.mark.slow
def test_weights_that_are_not_finite_are_not_saved(prior, tmp_path):
    leaves, structure = jax.tree.flatten(prior.params)
    broken = prior.replace(params=structure.unflatten([leaves[0].at[..., 0].set(jnp.nan), *leaves[1:]]))
    with pytest.raises(ValueError, match=r"numbers of params/\S+ are not finite in float32; nothing was written"):
        rd.save_prior(broken, tmp_path / "broken")
    assert not any(tmp_path.iterdir())


def test_bfloat16_leaves_the_schedule_alone(prior, tmp_path):
    rd.save_prior(prior, tmp_path / "half", dtype=jnp.bfloat16)
    assert np.array_equal(rd.load_prior(tmp_path / "half").schedule.sigmas, prior.schedule.sigmas)


def test_compute_type_and_remat_are_the_readers_choice(saved):
    loaded = rd.load_prior(saved, dtype=jnp.bfloat16, remat=True)
    assert (loaded.net.dtype, loaded.net.remat) == (jnp.bfloat16, True)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded.params)} == {jnp.dtype(jnp.float32)}


def test_the_card_keeps_what_it_is_told(saved):
    card = io.read_card(saved)
    assert (card["data"], card["schedule"]) == ("none", {"name": "cosine", "num_timesteps": 200})


def test_the_card_counts_the_parameters(prior, saved):
    assert io.read_card(saved)["num_parameters"] == sum(leaf.size for leaf in jax.tree.leaves(prior.params))


def test_a_saved_prior_does_not_tell_where_it_was_written(saved):
    files = [path for path in saved.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path.name for path in files if bytes(saved.parent) in path.read_bytes()]


def test_what_the_card_must_say_cannot_be_overridden(saved):
    assert io.read_card(saved)["format"] == io.FORMAT


# ---- on a mesh


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))


def test_a_prior_is_restored_replicated(prior, saved, mesh):
    everywhere = NamedSharding(mesh, PartitionSpec())
    loaded = rd.load_prior(saved, sharding=everywhere)
    assert {leaf.sharding for leaf in jax.tree.leaves(loaded)} == {everywhere}
    assert all(map(np.array_equal, jax.tree.leaves(loaded), jax.tree.leaves(prior)))


@pytest.fixture(scope="module")
def split(saved, mesh):
    return rd.load_prior(saved, sharding=io.along_largest_axis(mesh, "d"))


def test_a_prior_is_restored_split_along_the_largest_axes(prior, split):
    for leaf, whole in zip(jax.tree.leaves(split), jax.tree.leaves(prior), strict=True):
        divisible = [size for size in whole.shape if size % 8 == 0]
        share = whole.size // 8 if divisible else whole.size
        assert {shard.data.size for shard in leaf.addressable_shards} == {share}
        np.testing.assert_array_equal(leaf, whole)
    kernel = split.params["input_blocks_3_0"]["in_layers_2"]["kernel"]  # (3, 3, 32, 64)
    assert kernel.sharding.spec == PartitionSpec(None, None, None, "d")


@pytest.mark.slow
def test_a_split_prior_predicts_what_the_whole_one_does(prior, split):
    x_t = jnp.asarray(np.random.default_rng(0).normal(size=(8, 8, 3)), jnp.float32)
    eps = jax.jit(lambda prior: prior.replace(to_eps=rd.from_eps).eps(x_t, 50, jnp.int32(2)))
    expected = eps(prior)
    # float32 sums in another order, through some ten layers
    np.testing.assert_allclose(eps(split), expected, rtol=0, atol=1e-5 * float(jnp.abs(expected).max()))


@pytest.mark.slow
def test_a_rounded_prior_keeps_its_placement(prior, tmp_path, mesh):
    rd.save_prior(prior, tmp_path / "half", dtype=jnp.bfloat16)
    loaded = rd.load_prior(tmp_path / "half", sharding=io.along_largest_axis(mesh, "d"))
    kernel = loaded.params["input_blocks_3_0"]["in_layers_2"]["kernel"]
    assert (kernel.dtype, kernel.sharding.spec) == (jnp.float32, PartitionSpec(None, None, None, "d"))


def test_a_placement_is_asked_for_each_array_by_its_path(saved, mesh):
    asked = {}

    def place(path, shape):
        asked[path] = shape
        return NamedSharding(mesh, PartitionSpec())

    rd.load_prior(saved, sharding=place)
    assert asked["params/input_blocks_0_0/kernel"] == (3, 3, 3, 32)
    assert asked["schedule/alphas"] == (200,)


def test_a_sharding_that_does_not_fit_all_arrays_is_an_error(saved, mesh):
    with pytest.raises(ValueError, match=r"of shape .* cannot be placed as .*along_largest_axis"):
        rd.load_prior(saved, sharding=NamedSharding(mesh, PartitionSpec(None, "d")))


# ---- what cannot be read


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_a_card_is_no_prior(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"is no prior: it has no card\.json"):
        rd.load_prior(tmp_path / name)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "\xff\xfe"], ids=repr)
def test_a_card_that_is_none_is_an_error(text, copied):
    (copied / io.CARD).write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="is not the card of a prior"):
        rd.load_prior(copied)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, this version reads 1"),
        ({"prediction": "noise"}, "says prediction='noise'; known are eps"),
        ({"prediction": None}, "is not the card of a prior"),
        ({"prediction": ["eps"]}, "is not the card of a prior"),
        ({"architecture": None}, "is not the card of a prior"),
        ({"architecture": [1, 2]}, "is not the card of a prior"),
        ({"schedule__num_timesteps": None}, "is not the card of a prior"),
        ({"schedule__num_timesteps": "many"}, "is not the card of a prior"),
        ({"stored_dtype": "float33"}, "is not the card of a prior"),
        ({"files": [1]}, "is not the card of a prior"),
        ({"files": {"../weights": {"bytes": 1, "sha256": "0" * 64}}}, "is not the card of a prior"),
        ({"files": None}, "lists no SHA-256 of the stored files"),
        ({"architecture__type": "VNet"}, "unknown architecture 'VNet'; known are UNet"),
        ({"architecture__type": None}, "unknown architecture None"),
        ({"architecture__num_wheels": 4}, "does not fit UNet"),
        ({"architecture__model_channels": 64}, r"do not fit their card .* has shape \(32,\), needed is \(64,\)"),
        ({"architecture__num_res_blocks": 2}, r"do not fit their card .* has shape \(128,\), needed is"),
        ({"architecture__num_classes": None}, "do not fit their card|does not fit UNet"),
        ({"schedule__num_timesteps": 100}, r"\['schedule'\]\['alphas'\] has shape \(200,\), needed is \(100,\)"),
    ],
    ids=str,
)
def test_a_card_that_does_not_fit_says_why(change, message, copied):
    _edit(copied, **change)
    with pytest.raises(ValueError, match=message):
        rd.load_prior(copied)


@pytest.mark.parametrize(("files", "message"), [("as written", "are incomplete: 0 of"), ({}, "do not fit their card")])
def test_missing_weights_are_an_error(files, message, copied):
    if files == {}:
        _edit(copied, files=files)
    shutil.rmtree(copied / io.WEIGHTS)
    with pytest.raises(ValueError, match=message):
        rd.load_prior(copied)


def _halve(folder, pattern):
    for file in (folder / io.WEIGHTS).glob(pattern):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("pattern", ["_METADATA", "manifest.ocdbt", "array_metadatas/*", "ocdbt.process_0/d/*"])
def test_weights_that_were_cut_short_are_an_error(pattern, copied):
    _halve(copied, pattern)
    with pytest.raises(ValueError, match=r"are incomplete: [\d,]+ of [\d,]+ bytes. Copy or download"):
        rd.load_prior(copied)


def test_a_card_without_hashes_says_how_to_add_them(prior, copied):
    _edit(copied, files=None)
    with pytest.raises(ValueError, match=r"If you trust the folder, add them: reddiff_jax\.io\.seal\("):
        rd.load_prior(copied)
    io.seal(copied)
    assert rd.load_prior(copied).net == prior.net


def test_damaged_descriptions_of_weights_are_an_error_with_right_hashes_too(copied):
    _halve(copied, "_METADATA")
    io.seal(copied)
    with pytest.raises(ValueError, match="do not fit their card"):
        rd.load_prior(copied)


def _zero(folder, pattern):
    for file in (folder / io.WEIGHTS).glob(pattern):
        file.write_bytes(bytes(file.stat().st_size))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "pattern"),
    [
        (_halve, "manifest.ocdbt"),
        (_halve, "array_metadatas/*"),
        (_halve, "ocdbt.process_0/d/*"),
        (_zero, "ocdbt.process_0/d/*"),
    ],
)
def test_damage_that_the_hashes_do_not_show_is_an_error(damage, pattern, copied):
    # Orbax (0.12.8, asyncio_utils.run_sync) closes its event loop at the first array that fails, while reads of the
    # others go on: each reports "Event loop is closed" when it ends, in whatever test runs then. Hence a process.
    damage(copied, pattern)
    io.seal(copied)
    code = f"import reddiff_jax as rd; rd.load_prior({str(copied)!r})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ValueError: the weights in" in result.stderr, result.stderr
    assert "do not fit their card" in result.stderr, result.stderr


# ---- what cannot be written


def test_an_existing_folder_is_not_overwritten(prior, saved):
    with pytest.raises(FileExistsError, match="choose another folder"):
        rd.save_prior(prior, saved)


def test_a_network_of_ones_own_cannot_be_described(prior, tmp_path):
    with pytest.raises(TypeError, match="a card cannot describe Dense; it knows UNet"):
        rd.save_prior(prior.replace(net=nn.Dense(3)), tmp_path / "prior")


def test_a_prediction_of_ones_own_cannot_be_described(prior, tmp_path):
    with pytest.raises(TypeError, match="a card cannot describe the prediction"):
        rd.save_prior(prior.replace(to_eps=lambda *arguments: arguments[0]), tmp_path / "prior")


def test_a_save_that_fails_leaves_nothing(prior, tmp_path):
    with pytest.raises(TypeError, match="JSON"):
        rd.save_prior(prior, tmp_path / "prior", card={"data": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_was_killed_can_be_repeated(prior, tmp_path):
    (tmp_path / ".prior.partial" / "weights").mkdir(parents=True)
    rd.save_prior(prior, tmp_path / "prior")
    assert [path.name for path in tmp_path.iterdir()] == ["prior"]


def test_the_folder_appears_only_when_complete(prior, tmp_path, monkeypatch):
    def fail(self, *args, **kwargs):
        raise OSError("disk full")

    # The card is written last, after the arrays.
    monkeypatch.setattr(io.Path, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        rd.save_prior(prior, tmp_path / "prior")
    assert list(tmp_path.iterdir()) == []


# ---- classifiers


@pytest.fixture(scope="module")
def classifier_folder(tmp_path_factory):
    net = EncoderUNet(image_size=4, model_channels=32, num_res_blocks=1, channel_mult=(1,), num_head_channels=16)
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.5, leaf.dtype), io.abstract_params(net))
    folder = tmp_path_factory.mktemp("classifiers") / "tiny"
    io.save_classifier(net, params, schedules.cosine(50), folder, card={"name": "tiny"})
    return folder, net, params


def test_a_classifier_comes_back(classifier_folder):
    folder, net, params = classifier_folder
    loaded, loaded_params, schedule = io.load_classifier(folder)
    assert loaded == net
    assert all(map(np.array_equal, jax.tree.leaves(loaded_params), jax.tree.leaves(params)))
    assert np.array_equal(schedule.sigmas, schedules.cosine(50).sigmas)


def test_a_classifier_is_restored_on_a_mesh(classifier_folder, mesh):
    folder, _, params = classifier_folder
    _, loaded, _ = io.load_classifier(folder, sharding=io.along_largest_axis(mesh, "d"))
    assert loaded["out_2"]["c_proj"]["kernel"].sharding.spec == PartitionSpec(None, "d")
    assert all(map(np.array_equal, jax.tree.leaves(loaded), jax.tree.leaves(params)))


def test_a_classifier_is_no_prior(classifier_folder):
    with pytest.raises(ValueError, match="holds a classifier, not a prior"):
        rd.load_prior(classifier_folder[0])


def test_a_prior_is_no_classifier(saved):
    with pytest.raises(ValueError, match="holds a prior, not a classifier"):
        io.load_classifier(saved)


# ---- bundled priors


def test_the_first_bundled_prior_is_the_default():
    assert next(iter(io.bundled_priors().values())) == io.find_prior()


@pytest.mark.parametrize("folder", io.bundled_priors().values(), ids=lambda folder: folder.name)
def test_a_bundled_prior_has_the_arrays_of_its_card(folder):
    needed = io.abstract_params(io.net_from_card(io.read_card(folder)["architecture"]))
    stored = io._stored_shapes(folder)
    assert jax.tree.map(lambda leaf: tuple(leaf.shape), stored) == jax.tree.map(lambda leaf: leaf.shape, needed)


def test_a_bundled_prior_is_found_by_its_name():
    assert all(io.find_prior(name) == folder for name, folder in io.bundled_priors().items())


def test_a_folder_comes_before_a_bundled_prior_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo").mkdir()
    assert io.find_prior("photo").resolve() == tmp_path / "photo"
