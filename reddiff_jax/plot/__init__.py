"""Figures: pictures side by side, a run as a film strip, samples with their spread and error, charts, coverage.

Every function but ``sheet`` draws with matplotlib (``pip install "reddiff_jax[plot]"``) and returns its Figure: a
notebook shows it, ``figure.savefig("figure.png")`` writes it, ``matplotlib.pyplot.show()`` opens a window. Pictures are
arrays (H, W), (H, W, 1) or (H, W, 3) in [-1, 1], as everywhere; uint8 arrays and PIL images are shown as they are. A
``sheet`` is a picture itself, drawn by Pillow: what commands write beside restorations.
"""

from reddiff_jax.plot.figures import coverage as coverage
from reddiff_jax.plot.figures import curves as curves
from reddiff_jax.plot.figures import film as film
from reddiff_jax.plot.figures import lines as lines
from reddiff_jax.plot.figures import panel as panel
from reddiff_jax.plot.figures import points as points
from reddiff_jax.plot.figures import rows as rows
from reddiff_jax.plot.figures import samples as samples
from reddiff_jax.plot.sheets import sheet as sheet
from reddiff_jax.plot.sheets import write_sheet as write_sheet
