"""The manifest: its last line of a name holds, and what identifies a prior."""

import json

from reddiff_jax import jobs


def test_the_last_manifest_line_of_a_name_holds(tmp_path):
    manifest = jobs.Manifest(tmp_path / "manifest.jsonl")
    for status in ("writing", "restored"):
        manifest.add({"name": "a", "status": status, "outputs": ("a.png",)})
    read = jobs.Manifest(tmp_path / "manifest.jsonl").entries
    assert read == manifest.entries
    assert {**read["a"], "time": 0} == {"name": "a", "status": "restored", "outputs": ["a.png"], "time": 0, "order": 2}


def test_a_manifest_line_cut_short_is_passed_over(tmp_path):
    path = tmp_path / "manifest.jsonl"
    jobs.Manifest(path).add({"name": "a", "status": "restored"})
    with path.open("a") as file:
        file.write('{"name": "a", "sta')
    manifest = jobs.Manifest(path)
    assert manifest.entries["a"]["status"] == "restored"
    manifest.add({"name": "b", "status": "writing"})
    assert json.loads(path.read_text().splitlines()[-1]) == manifest.entries["b"]


def test_fingerprint_tells_priors_apart(tmp_path):
    for name, content in (("one", "1"), ("two", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(content)
    first, second = (jobs.fingerprint(tmp_path / name) for name in ("one", "two"))
    assert first.startswith("one-")
    assert first.split("-")[1] != second.split("-")[1]
