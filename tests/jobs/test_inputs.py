"""What a job takes: pictures and folders of them, and kernels."""

import numpy as np
import pytest

from reddiff_jax import jobs, pictures

SHAPE = (8, 12, 3)


def test_the_output_folder_is_no_input(tmp_path):
    (tmp_path / "out").mkdir()
    for path in (tmp_path / "a.png", tmp_path / "out" / "a.png"):
        pictures.write_picture(path, np.zeros(SHAPE))
    items, failures = jobs.find_inputs([tmp_path], out=tmp_path / "out")
    assert [item.name for item in items] == ["a"]
    assert failures == []


def test_one_file_given_twice_is_one_input(tmp_path):
    pictures.write_picture(tmp_path / "a.png", np.zeros(SHAPE))
    items, _ = jobs.find_inputs([tmp_path / "a.png", tmp_path])
    assert len(items) == 1


def test_a_kernel_from_a_picture_sums_to_one(tmp_path):
    x = np.full((5, 7, 1), -1.0)
    x[1:-1, 1:-1] = np.linspace(-1, 1, 15).reshape(3, 5, 1)
    pictures.write_picture(tmp_path / "kernel.png", x)
    kernel = jobs.read_kernel(tmp_path / "kernel.png")
    assert kernel.shape == (5, 7)
    assert kernel.sum() == pytest.approx(1)


def test_an_empty_name_is_not_the_current_folder():
    items, failures = jobs.find_inputs([""])
    assert items == []
    assert [failure.reason for failure in failures] == ["an input name is empty; give a file or a folder."]
