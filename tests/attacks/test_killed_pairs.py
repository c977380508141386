"""The attack that this is about: two processes on one folder, killed again and again, change not a bit."""

import numpy as np
import pytest
from job_server import Server

from reddiff_jax import jobs, pictures


def contents(out):
    return {path.name: path.read_bytes() for path in out.glob("*.png")} if out.is_dir() else {}


def statuses(out):
    return {entry["status"] for entry in jobs.Manifest(out / "manifest.jsonl").entries.values()}


@pytest.mark.slow
@pytest.mark.cpu_only
@pytest.mark.timeout(1200)  # on a machine with other work to do
@pytest.mark.parametrize("samples", [1, 2])
def test_kills_of_two_processes_on_one_folder_change_not_a_bit(tmp_path, samples):
    photos, out, whole = tmp_path / "photos", tmp_path / "out", tmp_path / "whole"
    photos.mkdir()
    for i in range(12):
        x = np.random.default_rng(i).uniform(-1, 1, (8, 12, 3))
        pictures.write_picture(photos / f"{i:02}.png", x)
    rng = np.random.default_rng(samples)
    shares = [(0, 2), (1, 2)]
    kills = 0
    with Server(tmp_path / "programs") as one, Server(tmp_path / "programs2") as other:
        servers = (one, other)

        def both(folder, ways):
            for server, share, way in zip(servers, shares, ways, strict=True):
                server.start(photos, folder, share=share, samples=samples, **way)
            return [server.answer() for server in servers]

        undisturbed = both(whole, [{}, {}])
        assert [answer["status"] for answer in undisturbed] == [0, 0]
        expected, folder = contents(whole), out
        while kills < 10:
            # At an operation on files, so that some fall within one write, and at any moment.
            at = int(rng.integers(1, max(2, undisturbed[0]["operations"] // 2)))
            answers = both(folder, [{"kill_at": at}, {"kill_after": float(rng.uniform(0.2, 3.0))}])
            kills += sum(answer["status"] == -9 for answer in answers)
            assert {answer["status"] for answer in answers} <= {0, -9}
            assert contents(folder).items() <= expected.items()
            if all(answer["status"] == 0 for answer in answers):
                assert contents(folder) == expected
                folder = folder.with_name(folder.name + "_")
        assert [answer["status"] for answer in both(folder, [{}, {}])] == [0, 0]
        assert contents(folder) == expected
        assert statuses(folder) == {"restored"}
        left = {path.name for path in folder.iterdir()} - expected.keys()
        assert left == {"manifest-00000.jsonl", "manifest-00001.jsonl"}
        # Two that would do the same work: one does it, the other says who does.
        folder = tmp_path / "same"
        one.start(photos, folder, samples=samples)
        other.start(photos, folder, samples=samples)
        answers = [one.answer(), other.answer()]
        refused = [answer["error"] for answer in answers if "error" in answer]
        done = [answer for answer in answers if "error" not in answer]
        assert all("in use by process" in error for error in refused)
        assert len(refused) == 1 or sum(len(answer["done"]) for answer in done) == 12  # or it began when all was done
        assert contents(folder).keys() == expected.keys()
