"""A job's lines in the words of the page: no folder of the server, no option that the page does not have."""

from pathlib import Path

import pytest

from reddiff_jax.app.wording import GONE, on_page

LINES = {
    "/tmp/x/9f2c/mask.png: white marks the hole, 2 % of pixels missing": (
        "mask.png: white marks the hole, 2 % of pixels missing"
    ),
    "/srv/my pictures/a b.gif has 3 frames": "a b.gif has 3 frames",
    "mask /tmp/x/m.png has shape (8, 8), but /tmp/y/a.png has 9 x 9": (
        "mask m.png has shape (8, 8), but a.png has 9 x 9"
    ),
    "cannot write /tmp/x/restored/a.png (no space)": "cannot write a.png (no space)",
    "25 gray levels are 25/255, and/or 0.1; https://example.org/a/b": "25 gray levels are 25/255, and/or 0.1; "
    "https://example.org/a/b",
    "inpaint needs to know which pixels are missing: --mask FILE, or a picture that is transparent there.": "inpaint "
    "needs to know which pixels are missing: paint over them, or open a mask under 'More', or a picture that is "
    "transparent there.",
    "a.tif: it has 3 pages; choose one with --page (page= in Python), 1 to 3, or split the file": (
        "a.tif: it has 3 pages; split the file, and open one page of 1 to 3"
    ),
    "leave --sigma out to use the estimate.": "leave Noise level at auto to use the estimate.",
    "Leave out --steps, or choose another solver.": "Leave Steps empty, or choose another solver.",
    "say what marks the hole: --hole black or --hole white (hole=masks.Hole.BLACK in Python)": "paint the hole here on "
    "the page",
    "sigma is 'x' but must be a number like 0.1": "Noise level is 'x' but must be a number like 0.1",
    "not enough memory for a picture of 9 x 9; lower --tile.": "not enough memory for a picture of 9 x 9; lower the "
    "command line's --tile.",
    "say which number is white: --white 4095 on the command line, white=4095 in Python": "say which number is white: "
    "--white 4095 on the command line",
    "/tmp/x/a.png: No such file or directory": GONE,
    "mask /tmp/x/a.png does not exist; check the name.": GONE,
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_in_the_words_of_the_page(line):
    assert on_page(line, Path("/srv/my pictures")) == LINES[line]
