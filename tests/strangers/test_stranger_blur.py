"""Blurred pictures from outside: each is a part of a larger one, and its kernel is said in words or by a file."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import reddiff_jax as rd
from reddiff_jax import jobs, measurements, metrics, pictures, tasks
from reddiff_jax.jobs import Item
from reddiff_jax.jobs.planning import make_plan

SIZE, MARGIN = 40, 20


def scene() -> np.ndarray:
    """A picture (80, 80, 3) of waves of many lengths, which blurs differ on."""
    rows, columns = np.mgrid[: SIZE + 2 * MARGIN, : SIZE + 2 * MARGIN] / 20
    waves = [np.sin(k * rows + 2 * columns + k) + np.sign(np.sin(k * columns - rows)) for k in (1, 2, 3)]
    return 0.4 * np.stack(waves, axis=-1).astype(np.float32)


def photo(path, kernel):
    """Writes a part of the blurred scene, and returns the part as it was."""
    blurred = np.asarray(rd.blur(kernel, scene().shape)(jnp.asarray(scene())))
    inside = slice(MARGIN, MARGIN + SIZE)
    pictures.write_picture(path, blurred[inside, inside])
    return scene()[inside, inside]


def plan_of(path, **options):
    return make_plan(jobs.Options(**options), "", 3, Item(path, path.stem))


@pytest.fixture
def picture(tmp_path):
    photo(tmp_path / "a.png", rd.kernels.gaussian(13, 1.5))
    return tmp_path / "a.png"


@pytest.mark.parametrize("text", ["gaussian:1.5", "defocus:3", "motion:9@30"])
def test_the_kernel_can_be_said_in_words(picture, text):
    plan = plan_of(picture, task="deblur", kernel=text)
    assert plan.record["border"] == "unknown"
    assert min(plan.frame.in_shape[:2]) > SIZE


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tif"])
def test_the_kernel_can_be_a_file(picture, tmp_path, suffix):
    kernel = np.asarray(rd.kernels.line(9, np.pi / 6))
    path = tmp_path / f"kernel{suffix}"
    if suffix == ".npy":
        np.save(path, 7 * kernel)  # of any sum
    else:
        Image.fromarray(np.round(255 * kernel / kernel.max()).astype(np.uint8)).save(path)
    plan = plan_of(picture, task="deblur", kernel=path)
    assert plan.header.array_shapes == (("kernel", kernel.shape),)
    assert plan.said == f"{path}: a kernel of {kernel.shape[1]} x {kernel.shape[0]} pixels"
    assert plan.frame == plan_of(picture, task="deblur", kernel="motion:9@30").frame


@pytest.mark.parametrize("task", ["deblur_gauss61", "deblur_uniform", "deblur_uni", "deblur_gauss"])
def test_the_borders_of_blurs_that_have_a_name_are_unknown_too(picture, task):
    plan = plan_of(picture, task=task)
    assert plan.border is jobs.Border.UNKNOWN
    assert min(plan.frame.in_shape[:2]) > SIZE
    assert plan_of(picture, task=task, border=jobs.Border.REFLECT).frame.in_shape == (SIZE, SIZE, 3)


def test_a_saturated_blurs_border_is_unknown_too(picture):
    assert plan_of(picture, task="deblur_saturated", kernel="motion:9@0").border is jobs.Border.UNKNOWN


def test_a_simulation_keeps_the_border_that_it_was_made_with(tmp_path):
    y = np.zeros((SIZE, SIZE, 3), np.float32)
    kernel = tasks.kernel_in_words("defocus:2")
    path = tmp_path / "a.npz"
    measurements.write_measurement(path, measurements.make_measurement("deblur", 0.01, y, y.shape, {"kernel": kernel}))
    plan = plan_of(path)
    assert plan.border is None
    assert plan.frame == plan.header


def test_no_other_task_has_a_border(picture):
    assert plan_of(picture, task="denoise", sigma=0.1).border is None


def test_odd_sizes_share_frames_unless_exact_ones_are_asked_for(tmp_path):
    for name, size in (("a", (36, 30)), ("b", (35, 31))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    options = {"task": "deblur", "kernel": "defocus:2"}
    a, b = (plan_of(tmp_path / f"{name}.png", **options) for name in "ab")
    assert a.frame == b.frame
    assert plan_of(tmp_path / "a.png", exact_sizes=True, **options).frame.in_shape[:2] == (36, 40)


FORMS = "describes no blur; say gaussian:SIGMA, defocus:RADIUS or motion:LENGTH@DEGREES"
WRONG = {
    "gauss:3": "kernel gauss:3 does not exist; check the name, or say gaussian:SIGMA",
    "blur.npy": "kernel blur.npy does not exist; check the name, or say gaussian:SIGMA",
    "gaussian:-1": f"kernel 'gaussian:-1' {FORMS}",
    "defocus:4px": f"kernel 'defocus:4px' {FORMS}",
    "motion:15": f"kernel 'motion:15' {FORMS}",
    "defocus:1000": "from 0 to 200 pixels",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items(), ids=WRONG)
def test_other_words_are_refused_with_those_that_there_are(text, said):
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        jobs.Options(task="deblur", kernel=text).check()
    assert "\n" not in str(error.value)


def test_deblurring_without_a_kernel_finds_one_and_says_it(picture):
    plan = plan_of(picture, task="deblur")
    found = re.fullmatch(rf"{re.escape(str(picture))}: the blur looks like (\S+); give another by --kernel", plan.said)
    assert found is not None
    given = plan_of(picture, task="deblur", kernel=found[1])
    assert plan.record == given.record
    assert plan.frame == given.frame


@pytest.mark.parametrize("task", ["deblur_saturated", "deblur_motion"])
def test_a_blur_that_is_not_looked_for_must_be_given(picture, task):
    with pytest.raises(jobs.JobError, match=rf"{task} needs the blur's kernel: --kernel FILE .* or gaussian:SIGMA"):
        plan_of(picture, task=task)


def test_the_blur_of_a_tiny_picture_must_be_given(tmp_path):
    pictures.write_picture(tmp_path / "a.png", scene()[:20, :40])
    with pytest.raises(
        jobs.JobError, match=r"a.png is too small to find its blur: that takes 32 x 32 pixels.*--kernel FILE"
    ):
        plan_of(tmp_path / "a.png", task="deblur")


def test_words_are_no_kernel_where_none_belongs():
    with pytest.raises(jobs.JobError, match="inpaint takes no kernel"):
        jobs.Options(task="inpaint", kernel="gaussian:2").check()


def test_a_solver_that_must_know_the_border_says_so(picture):
    with pytest.raises(jobs.JobError, match=r"ddrm needs to know what lay beyond the border.*--border reflect"):
        plan_of(picture, task="deblur_gauss61", solver="ddrm")
    assert plan_of(picture, task="deblur_gauss61", solver="ddrm", border=jobs.Border.REFLECT).settings.name == "ddrm"


@pytest.fixture(scope="module")
def restored(tmp_path_factory):
    """PSNR of a deblurred part with each border, and what was written."""
    folder, kernel = tmp_path_factory.mktemp("blurred"), np.asarray(rd.kernels.defocus(3))
    original = photo(folder / "a.png", kernel)
    prior = rd.gaussian_prior(jnp.zeros((1, 1, 1)), 0.25, rd.schedules.linear())
    psnr = {}
    for border in (jobs.Border.UNKNOWN, jobs.Border.REFLECT, jobs.Border.CIRCULAR):
        options = jobs.Options(
            task="deblur", kernel="defocus:3", border=border, changes={"num_steps": 4, "num_runs": 1, "lam": 0.0}
        )
        outcome = jobs.restore([folder / "a.png"], prior, out=folder / border, options=options)
        assert not outcome.failures
        x = pictures.read_picture(folder / border / "a.png")
        assert x.shape == original.shape
        psnr[border] = float(metrics.psnr(jnp.asarray(x), jnp.asarray(original)))
    return folder, psnr


@pytest.mark.slow
def test_unknown_borders_do_not_ring(restored):
    _, psnr = restored
    assert psnr["unknown"] > psnr["reflect"] + 2
    assert psnr["unknown"] > psnr["circular"] + 2


@pytest.mark.slow
def test_the_manifest_says_the_border(restored):
    folder, psnr = restored
    for border in psnr:
        entry = json.loads((folder / border / "manifest.jsonl").read_text().splitlines()[-1])
        assert entry["settings"]["border"] == border
