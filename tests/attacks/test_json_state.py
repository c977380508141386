"""JSON that this package reads back, changed by a stranger: each answer is a value or one line, never a raw error."""

import contextlib
import json

import numpy as np
import pytest
from mutations import is_one_line, mutated, written

from reddiff_jax import cards, io, jobs, measurements
from reddiff_jax.cards import CARD
from reddiff_jax.jobs.batch_sizes import RememberedSizes
from reddiff_jax.nets import ResidualUNet
from reddiff_jax.settings import DpsSettings, Kind, SettingsFile, SettingsFileError, read_settings

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

fuzzed = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
long = settings(fuzzed, max_examples=1000)

NET = ResidualUNet(widths=(8,), num_res_blocks=1, patch_size=1)
CARD_CONTENT = {
    "name": "tiny",
    "format": io.FORMAT,
    "architecture": json.loads(json.dumps(io.describe_net(NET))),
    "schedule": {"name": "linear", "num_timesteps": 10},
    "prediction": "eps",
    "value_range": [-1, 1],
    "stored_dtype": "float32",
    "num_parameters": 1000,
    "versions": {"jax": "0.10.2"},
    "files": {"weights/d/0": {"bytes": 10, "sha256": "0" * 64}},
}
SETTINGS_CONTENT = {
    "version": 2,
    "prior": "tiny-1",
    "settings": [
        {
            "task": "sr4",
            "sigma": 0.05,
            "solver": "dps",
            "kind": "super_resolution",
            "settings": {"scale": 0.3, "num_steps": 100},
            "score": 20.0,
            "how": {"seed": 0},
            "search": "random_search",
            "trials": [[{"scale": 0.3, "num_steps": 100}, 20.0], [{"scale": 0.5, "num_steps": 100}, None]],
        }
    ],
}
META = {
    "format": 1,
    "task": "sr4",
    "sigma": 0.1,
    "y_shape": [8, 8, 3],
    "in_shape": [32, 32, 3],
    "array_shapes": {},
    "seed": 0,
}
LINE = {
    "name": "a",
    "status": "restored",
    "source": "a.png",
    "outputs": ["a.png"],
    "settings": {"task": "sr4", "seed": 0},
    "attempts": 1,
    "batch_size": 4,
    "residual": [0.05],
    "time": 1.7e9,
}


@contextlib.contextmanager
def one_line(*kinds: type[Exception]):
    """Lets errors of exactly these types pass, whose message is one line."""
    try:
        yield
    except kinds as error:
        if type(error) not in kinds or not is_one_line(error):
            raise AssertionError(f"a raw {type(error).__name__}: {error!r}") from error


def read_card(folder, document, sealed):
    if sealed and isinstance(document, dict):
        with contextlib.suppress(TypeError, ValueError, RecursionError):
            document = {**document, "sha256": cards._digest(json.loads(written(document)))}
    (folder / CARD).write_text(written(document), encoding="utf-8", errors="surrogatepass")
    with one_line(ValueError):
        io.net_from_card(io.read_card(folder)["architecture"])


def read_settings_file(folder, document):
    (folder / "s.json").write_text(written(document), encoding="utf-8", errors="surrogatepass")
    with one_line(SettingsFileError):
        file = read_settings(folder / "s.json", "tiny-1")
        for row in file.rows:
            file.known({name: row[name] for name in ("task", "sigma", "solver")}, row["how"])


def read_measurement(folder, document):
    path = folder / "a.npz"
    np.savez(path, meta=np.asarray(written(document)), y=np.zeros((8, 8, 3), np.float32))
    with one_line(measurements.MeasurementError):
        measurements.read_measurement(path)


def read_manifest(folder, document):
    (folder / "manifest.jsonl").write_text(written(document) + "\n" + json.dumps(LINE | {"name": "b"}) + "\n")
    entries = jobs.Manifest(folder / "manifest.jsonl").entries
    assert "b" in entries
    for entry in entries.values():
        assert isinstance(entry["name"], str)
        assert isinstance(entry.get("settings", {}), dict)
        assert "settings" not in entry or isinstance(entry["status"], str)


@fuzzed
@given(document=mutated(CARD_CONTENT), sealed=st.booleans())
def test_changed_cards(document, sealed, tmp_path):
    read_card(tmp_path, document, sealed)


@pytest.mark.slow
@long
@given(document=mutated(CARD_CONTENT), sealed=st.booleans())
def test_a_thousand_changed_cards(document, sealed, tmp_path):
    read_card(tmp_path, document, sealed)


@fuzzed
@given(document=mutated(SETTINGS_CONTENT))
def test_changed_settings_files(document, tmp_path):
    read_settings_file(tmp_path, document)


@pytest.mark.slow
@long
@given(document=mutated(SETTINGS_CONTENT))
def test_a_thousand_changed_settings_files(document, tmp_path):
    read_settings_file(tmp_path, document)


@fuzzed
@given(document=mutated(META))
def test_changed_measurement_files(document, tmp_path):
    read_measurement(tmp_path, document)


@pytest.mark.slow
@long
@given(document=mutated(META))
def test_a_thousand_changed_measurement_files(document, tmp_path):
    read_measurement(tmp_path, document)


@fuzzed
@given(document=mutated(LINE))
def test_changed_manifests(document, tmp_path):
    read_manifest(tmp_path, document)


@pytest.mark.slow
@long
@given(document=mutated(LINE))
def test_a_thousand_changed_manifests(document, tmp_path):
    read_manifest(tmp_path, document)


@fuzzed
@given(document=mutated({"a" * 16: 4, "b" * 16: 1}))
def test_changed_batch_sizes(document, tmp_path):
    (tmp_path / "batch_sizes.json").write_text(written(document), encoding="utf-8", errors="surrogatepass")
    sizes = RememberedSizes(tmp_path)
    assert sizes.get("nothing") is None
    sizes.put(3, "x")
    assert sizes.get("x") == 3


# ---- what was found by hand

TEXTS = {
    "deep": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "digits": "9" * 10_000,
    "no json": "\x00",
    "null": "null",
    "twice": '{"format": 1, "format": 1}',
    "surrogate": '{"format": "\\ud800"}',
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_are_no_state(name, tmp_path):
    for file in (CARD, "s.json", "manifest.jsonl"):
        (tmp_path / file).write_text(TEXTS[name])
    with pytest.raises(ValueError, match="is not the card of a prior") as error:
        io.read_card(tmp_path)
    assert is_one_line(error.value)
    with pytest.raises(SettingsFileError, match="is no file of settings"):
        read_settings(tmp_path / "s.json", "tiny-1")
    assert jobs.Manifest(tmp_path / "manifest.jsonl").entries == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sigma": "0.1"}, r'settings\[0\]\.sigma is "0.1" but must be a number from 0'),
        ({"sigma": -1}, r"settings\[0\]\.sigma is -1"),
        ({"solver": "dsp"}, r'settings\[0\]\.solver is "dsp" but must be "reddiff" or'),
        ({"kind": "sr"}, r'settings\[0\]\.kind is "sr"'),
        ({"settings": {"scale": [1]}}, r"settings\[0\]: "),
        ({"settings": {"wheels": 4}}, r"settings\[0\]: .*wheels"),
        ({"trials": [[{}]]}, r"settings\[0\]\.trials\[0\] is \[\{\}\] but must be a list of 2"),
        ({"trials": [[{"scale": "a"}, 1.0]]}, r"settings\[0\]: "),
    ],
    ids=str,
)
def test_the_error_names_the_field_of_a_settings_file(change, said, tmp_path):
    row = {**SETTINGS_CONTENT["settings"][0], **change}
    (tmp_path / "s.json").write_text(json.dumps({**SETTINGS_CONTENT, "settings": [row]}))
    with pytest.raises(SettingsFileError, match=rf"is no file of settings \({said}"):
        read_settings(tmp_path / "s.json", "tiny-1")


@pytest.mark.parametrize("name", ["task", "sigma", "solver", "kind", "settings", "score", "how", "search", "trials"])
def test_a_field_of_a_settings_file_that_is_missing_is_named(name, tmp_path):
    row = {key: value for key, value in SETTINGS_CONTENT["settings"][0].items() if key != name}
    (tmp_path / "s.json").write_text(json.dumps({**SETTINGS_CONTENT, "settings": [row]}))
    with pytest.raises(SettingsFileError, match=rf"settings\[0\]\.{name} is missing but must be"):
        read_settings(tmp_path / "s.json", "tiny-1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sigma": None}, "sigma is null but must be a number"),
        ({"in_shape": [32, 32]}, "in_shape is .* but must be a list of 3"),
        ({"in_shape": [2**20, 2**20, 3]}, r"its picture has \d+ numbers, more than"),
        ({"y_shape": [8, 8, 3, 1, 1]}, "y_shape"),
        ({"array_shapes": [1]}, r"array_shapes is \[1\] but must be an object"),
        ({"task": ["sr4"]}, "task is"),
        ({"seed": "a"}, 'seed is "a"'),
    ],
    ids=str,
)
def test_the_error_names_the_field_of_a_measurement(change, said, tmp_path):
    np.savez(tmp_path / "a.npz", meta=np.asarray(json.dumps(META | change)), y=np.zeros((8, 8, 3), np.float32))
    with pytest.raises(measurements.MeasurementError, match=rf"a measurement file \({said}"):
        measurements.read_header(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schedule": None}, "schedule is null but must be an object"),
        ({"files": {"weights/../../x": {"bytes": 1, "sha256": "0" * 64}}}, "must be a path below weights/"),
        ({"files": {"weights/d": {"bytes": -1, "sha256": "0" * 64}}}, r"files\.weights/d\.bytes is -1"),
        ({"files": {"weights/d": {"bytes": 1, "sha256": "xyz"}}}, "must be 64 hexadecimal digits"),
        ({"num_parameters": True}, "num_parameters is true but must be a whole number"),
        ({"stored_dtype": "S1"}, 'stored_dtype is "S1" but must be "float32" or'),
    ],
    ids=str,
)
def test_the_error_names_the_field_of_a_card(change, said, tmp_path):
    (tmp_path / CARD).write_text(json.dumps(CARD_CONTENT | change))
    with pytest.raises(ValueError, match=rf"is not the card of a prior \(.*{said}"):
        io.read_card(tmp_path)


def test_a_settings_file_that_this_package_wrote_obeys_its_rules(tmp_path):
    file = SettingsFile(tmp_path / "s.json", "tiny-1")
    key = {"task": "sr4", "sigma": np.float64(0.05), "solver": "dps"}
    file.add(key, {"seed": 0}, "random_search", Kind.SUPER_RESOLUTION, [(DpsSettings(), -np.inf), (DpsSettings(), 20)])
    assert read_settings(tmp_path / "s.json", "tiny-1").rows == file.rows
