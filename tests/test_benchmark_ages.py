"""Which results are stale, and the command that measures them again."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as every
from benchmarks import _code, _report, _tables

MODULE = '"""A module."""\n\ndef double(x):\n    """Twice."""\n    return 2 * x  # a comment\n'


@pytest.fixture
def tree(tmp_path):
    """A module in a tree of its own."""
    (tmp_path / "module.py").write_text(MODULE)
    return tmp_path


def _rewritten(tree: Path, old: str, new: str) -> list[str]:
    """What counts as changed after a replacement in the module."""
    code = _code.digests(["module.py"], tree)
    _code._digest.cache_clear()
    text = (tree / "module.py").read_text()
    assert old in text
    (tree / "module.py").write_text(text.replace(old, new))
    return _code.changed(code, tree)


@pytest.mark.parametrize(
    ("old", "new"), [("Twice.", "2 x."), ("  # a comment", ""), ("A module.", "It."), ("(x)", "( x )")]
)
def test_words_and_layout_are_not_code(tree, old, new):
    assert _rewritten(tree, old, new) == []


@pytest.mark.parametrize(("old", "new"), [("2 * x", "3 * x"), ("double", "twice")])
def test_other_code_is_a_change(tree, old, new):
    assert _rewritten(tree, old, new) == ["module.py"]


def test_a_module_that_is_gone_has_changed(tree):
    code = _code.digests(["module.py"], tree)
    _code._digest.cache_clear()
    (tree / "module.py").unlink()
    assert _code.changed(code, tree) == ["module.py"]


def test_a_result_records_what_was_imported_and_the_priors():
    code = _code.loaded()
    assert {"benchmarks/_tables.py", "reddiff_jax/__init__.py"} <= code.keys()
    assert "benchmarks/_report.py" not in code  # what writes a result does not decide it
    assert all(len(digest) == 8 for digest in code.values())


def _result(**more) -> dict:
    environment = {"commit": "abc", "cpu": "a CPU", "cpu_count": 2, "backend": "cpu", "jax": "0.10"}
    return {"name": "views", "environment": environment, "rows": [], **more}


def test_a_table_says_that_it_is_stale():
    assert "Stale" not in _tables.measured_on(_result(code=_code.digests(["benchmarks/views.py"])), "means")
    assert "changed since" in _tables.measured_on(_result(code={"benchmarks/views.py": "0"}), "means")
    assert "before results kept a record" in _tables.measured_on(_result(), "means")


def test_rows_that_are_kept_keep_the_code_that_they_were_measured_with(tmp_path):
    path = _report.write("views", settings={}, rows=[{"a": 1}], out=tmp_path)
    first = json.loads(path.read_text())
    assert first["code"] == _code.loaded()
    path.write_text(json.dumps({**first, "code": {"benchmarks/views.py": "0"}}))
    _report.write("views", settings={}, rows=[{"a": 1, "commit": "earlier"}, {"a": 2}], out=tmp_path)
    assert json.loads(path.read_text())["code"] == {**_code.loaded(), "benchmarks/views.py": "0"}
    path.write_text(json.dumps({name: first[name] for name in first if name != "code"}))
    _report.write("views", settings={}, rows=[{"a": 1, "commit": "earlier"}], out=tmp_path)
    assert "code" not in json.loads(path.read_text())  # unknown, so stale


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty folder of results, and a clean tree."""
    monkeypatch.setattr(_report, "RESULTS", tmp_path)
    monkeypatch.setattr(_report, "_COMMIT", "abc")
    return tmp_path


def _ran(monkeypatch, results: Path, statuses: dict[str, int]) -> list[str]:
    """Replaces the benchmarks by what writes a current result and ends with a status; the modules that were run."""
    ran = []

    def run(command, **_):
        name = command[-1].removeprefix("benchmarks.")
        ran.append(name)
        if name != "pages":
            assert not (results / f"{name}_settings.json").exists()  # a stale one is not gone on with
            _report.write(name, settings={}, rows=[{"a": 1}])
        return every.subprocess.CompletedProcess(command, statuses.get(name, 0))

    monkeypatch.setattr(every.subprocess, "run", run)
    return ran


def test_what_is_stale_is_measured_and_what_is_current_passed_over(results, monkeypatch, capsys):
    (results / "quality.json").write_text("{}")
    (results / "quality_settings.json").write_text("{}")
    ran = _ran(monkeypatch, results, {})
    assert every.main(["all", "--only", "quality", "views"]) == 0
    assert ran == ["views", "quality", "pages"]
    assert "2 to measure" in capsys.readouterr().out
    assert every.main(["all", "--only", "quality", "views"]) == 0
    assert ran == ["views", "quality", "pages"]
    assert every.main(["all", "--only", "views", "--force"]) == 0
    assert ran[3:] == ["views", "pages"]


def test_what_fails_is_tried_again_and_goes_on_where_it_was(results, monkeypatch, capsys):
    ran = _ran(monkeypatch, results, {"views": 1})
    assert every.main(["all", "--only", "views", "sigma"]) == 1
    assert "failed: views" in capsys.readouterr().out
    ran.clear()
    assert every.main(["all", "--only", "views", "sigma", "--list"]) == 0
    out = capsys.readouterr().out
    assert "views        stale" in out
    assert "sigma        current" in out
    assert ran == []
    rows = (results / "views.json").read_text()
    monkeypatch.setattr(every.subprocess, "run", lambda command, **_: every.subprocess.CompletedProcess(command, 0))
    assert every.main(["all", "--only", "views", "sigma"]) == 0
    assert (results / "views.json").read_text() == rows  # it was there for the benchmark to go on with
    assert not list(results.glob("*.begun"))


def test_work_that_is_not_committed_is_not_measured(results, monkeypatch, capsys):
    monkeypatch.setattr(_report, "_COMMIT", "abc-dirty")
    ran = _ran(monkeypatch, results, {})
    assert every.main(["all", "--only", "views"]) == 2
    assert "commit it" in capsys.readouterr().out
    assert ran == []


def test_every_result_of_a_page_is_in_the_command_or_needs_more():
    apart = {"architectures", "emoji64", "net_error", "clips", "cone_beam"}
    written = {path.stem for path in (Path(_report.__file__).parent / "results").glob("*.json")}
    assert {path.stem for entry in every.ENTRIES for path in entry.files} >= written - apart
