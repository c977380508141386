"""The public call and the command line are one: the same solver, and the same picture."""

import jax
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import jobs, measurements, pictures, tasks
from reddiff_jax.jobs import groups
from reddiff_jax.jobs.planning import make_plan
from reddiff_jax.masks import Hole, key_of
from reddiff_jax.settings import ReddiffSettings, default_settings

SIZE = 16
CASES = [("sr4", 0.05), ("hdr", 0.0)]
MORE = [
    ("jpeg20", 0.0),
    ("inpaint_box", 0.0),
    ("mri4", 0.05),
    ("inpaint_random", 0.05),
    ("cs4", 0.05),
    ("phase_retrieval", 0.1),
    ("denoise", 0.1),
]
each_case = pytest.mark.parametrize(
    ("task", "sigma"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)]
)


def predict(x_t, t, cond):
    return x_t / (1 + x_t.mean() ** 2)


@pytest.fixture(scope="module")
def prior():
    return rd.prior(predict, rd.schedules.linear())


@pytest.fixture
def photo(tmp_path, rng):
    (tmp_path / "photos").mkdir()
    pictures.write_picture(tmp_path / "photos" / "a.png", rng.uniform(-1, 1, (SIZE, SIZE, 3)))
    return tmp_path / "photos" / "a.png"


def measured(photo, task, sigma):
    out = photo.parents[1] / "measured"
    jobs.measure_pictures([photo], task=task, sigma=sigma, out=out, seed=3)
    return out / "a.npz", measurements.read_measurement(out / "a.npz").problem()


@each_case
def test_both_have_the_same_solver(photo, prior, task, sigma):
    path, problem = measured(photo, task, sigma)
    plan = make_plan(jobs.Options(), "tiny", 3, jobs.Item(path, "a"))
    theirs, ours = plan.settings.solver(prior), rd.default_solver(prior, problem)
    assert jax.tree.structure(theirs) == jax.tree.structure(ours)
    assert all((one == other).all() for one, other in zip(jax.tree.leaves(theirs), jax.tree.leaves(ours), strict=True))


@each_case
def test_both_restore_the_same_bits(photo, prior, task, sigma, monkeypatch):
    path, problem = measured(photo, task, sigma)
    written, write = [], pictures.write_picture

    def write_and_note(path, x, **options):
        written.append(x)
        write(path, x, **options)

    monkeypatch.setattr(pictures, "write_picture", write_and_note)
    # Several devices divide the averaged runs; their mean is then the same but for float32 rounding (test_chunks.py).
    monkeypatch.setattr(groups, "local_mesh", lambda count: None)
    options = jobs.Options(seed=3, exact_sizes=True, batch_size=1)
    outcome = jobs.restore([path], prior, out=photo.parents[1] / "out", options=options)
    assert outcome.done == ["a"]
    run = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))  # as the command line has it: a batch
    key = jax.random.fold_in(key_of("a", 3), 0)
    x = run(key[None], rd.default_solver(prior, problem), rd.stack([problem])).x[0]
    np.testing.assert_array_equal(written[0], tasks.by_name(task).result(np.asarray(x)))


def test_a_users_own_mask_of_pixels_has_the_settings_of_pixels(photo, prior, rng):
    mask = photo.parents[1] / "mask.png"
    pictures.write_picture(mask, np.where(rng.random((SIZE, SIZE, 1)) < 0.5, -1.0, 1.0))
    plan = make_plan(
        jobs.Options(task="inpaint", sigma=0.1, mask=mask, hole=Hole.BLACK), "tiny", 3, jobs.Item(photo, "a")
    )
    assert plan.settings == default_settings(tasks.example("inpaint_random", draw=True))


def test_records_of_red_diff_are_what_they_were():
    options = jobs.Options(task="denoise", sigma=0.1, solver="reddiff")
    problem = tasks.example("denoise")
    found = options.settings(problem, "denoise")
    assert found == default_settings(problem, "reddiff")
    names = {"lam", "learning_rate", "lr_schedule", "num_steps", "start_timestep", "weighting", "init"}
    assert isinstance(found, ReddiffSettings)
    assert vars(found).keys() == names
