"""The cache of compiled programs: where it is, and what a killed process leaves in it."""

import warnings
from pathlib import Path

import jax
import pytest

from reddiff_jax.cli import _cache


@pytest.fixture
def config(monkeypatch):
    """JAX's settings, as they would be set."""
    updates = {}
    monkeypatch.setattr(jax.config, "update", updates.__setitem__)
    monkeypatch.setattr(_cache, "_counts", dict)
    return updates


@pytest.mark.parametrize(
    ("chosen", "expected"), [("/mine", Path("/mine")), ("~/mine", Path.home() / "mine"), ("off", None), ("", None)]
)
def test_the_user_says_where_the_cache_is(monkeypatch, chosen, expected):
    monkeypatch.setenv("REDDIFF_JAX_CACHE", chosen)
    assert _cache.cache_folder() == expected


def test_else_the_cache_is_where_the_platform_keeps_caches(monkeypatch):
    monkeypatch.delenv("REDDIFF_JAX_CACHE")
    folder = _cache.cache_folder()
    assert folder.is_absolute()
    assert "reddiff-jax" in folder.parts


def test_programs_are_kept_unless_the_user_has_said_where(config, monkeypatch, tmp_path):
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("REDDIFF_JAX_CACHE", str(tmp_path))
    _cache.keep_programs()
    expected = {} if before else {"jax_compilation_cache_dir": str(tmp_path / "programs")}
    assert config.items() >= expected.items()
    config.clear()
    monkeypatch.setenv("REDDIFF_JAX_CACHE", "off")
    _cache.keep_programs()
    assert config == {}


def test_a_home_that_cannot_be_written_to_does_not_matter(config, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REDDIFF_JAX_CACHE", str(tmp_path / "file" / "cache"))
    _cache.keep_programs()
    assert config == {}


def test_programs_half_written_are_removed(tmp_path):
    for name in ("a-cache", "a-atime", "b-cache"):
        (tmp_path / name).write_bytes(b"0")
    _cache._remove_incomplete(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("?-*")) == ["a-atime", "a-cache"]


def test_programs_count_as_found_only_if_none_was_compiled():
    _cache._counts.cache_clear()
    assert _cache.compiled("in 1 s") == "compiled in 1 s"
    event = "/jax/compilation_cache/cache_"
    for events, said in ((["hits"], "found compiled"), (["hits", "misses"], "compiled")):
        for name in events:
            jax.monitoring.record_event(event + name)
        assert _cache.compiled("in 1 s") == f"{said} in 1 s"


def test_a_program_that_jax_cannot_read_is_removed_so_that_it_is_replaced(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *rest: shown.append(str(message)))
    for name, read_at in (("whole", 1), ("damaged", 2)):
        (tmp_path / f"{name}-cache").write_bytes(b"0")
        (tmp_path / f"{name}-atime").write_bytes(read_at.to_bytes(8, "little"))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        _cache._replace_damaged(tmp_path)
        warnings.warn(f"{_cache._DAMAGED} for 'jit_f': ValueError: no zstd", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole-atime", "whole-cache"]
    assert shown == ["something else"]
