"""Figures by matplotlib."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax import diagnostics, metrics
from reddiff_jax._checks import check_whole, describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

WIDTH = 9.6
"""Width of a figure, in inches."""
_TITLE, _MARGIN = 0.3, 0.08  # inches above and around a picture
_STRANGE = 3  # times the usual ratio of the sides
_SMALL = 9  # points of the titles of many pictures
_MOST_CHARTS = 4  # in a row
_FEW = 20  # points of a line that are each marked


def panel(
    pictures: Mapping[str, Any],
    *,
    columns: int | None = None,
    low: float = -1.0,
    high: float = 1.0,
    figure: "FigureBase | None" = None,
) -> "Figure":
    """Pictures side by side, each under its title.

    Args:
        pictures: Title -> picture.
        columns: Pictures in a row; all in one row up to four, then as square as it comes.
        low: Value that is black, of arrays that are not uint8.
        high: Value that is white.
        figure: What to draw in, such as one of ``figure.subfigures(1, 2)``; a new figure if None.

    Raises:
        ImportError: Without matplotlib.
        ValueError: For no pictures, or what is no picture.
    """
    shown = {title: _pixels("plot.panel", picture, low, high) for title, picture in pictures.items()}
    if not shown:
        raise ValueError("plot.panel: pictures is empty but must have a title and a picture at least.")
    columns = _columns("plot.panel", len(shown), columns)
    drawn, axes, ratio = _grid(list(shown.values()), math.ceil(len(shown) / columns), columns, figure)
    for axis, (title, picture) in zip(axes.flat, shown.items(), strict=False):
        _show(axis, ratio, picture, title, small=columns > 4)
    return drawn


def rows(named: Mapping[str, Any], *, titles: Sequence[str] = (), low: float = -1.0, high: float = 1.0) -> "Figure":
    """Batches of pictures, one a row under the other: measurements above, what was made of them below.

    Args:
        named: Name on the left -> pictures (B, H, W, C), or a list of them; the same number for each name.
        titles: Titles of the columns.
        low: Value that is black, of arrays that are not uint8.
        high: Value that is white.

    Raises:
        ImportError: Without matplotlib.
        ValueError: If the numbers of pictures differ, or for what is no picture.
    """
    shown = {name: [_pixels("plot.rows", each, low, high) for each in batch] for name, batch in named.items()}
    counts = {name: len(batch) for name, batch in shown.items()}
    if len(set(counts.values())) != 1 or not next(iter(counts.values())):
        raise ValueError(f"plot.rows: named has {counts} pictures but every name must have as many, one at least.")
    columns = next(iter(counts.values()))
    figure, axes, ratio = _grid([picture for batch in shown.values() for picture in batch], len(shown), columns)
    for line, (name, batch) in zip(axes, shown.items(), strict=True):
        for axis, picture in zip(line, batch, strict=True):
            _show(axis, ratio, picture)
        line[0].set_ylabel(name)
    for axis, title in zip(axes[0], titles, strict=False):
        axis.set_title(title, fontsize=_SMALL if columns > 4 else None)
    return figure


def film(images: Any, *, steps: Sequence[int] | None = None, num: int = 8) -> "Figure":
    """A run as a strip of pictures, what ``rd.run(..., record=...)`` recorded.

    Args:
        images: ``solution.record`` of ``rd.run(..., record=lambda state, info: state.mu)``, (T, H, W, C) in [-1, 1].
        steps: The step of each, for its title, such as ``record_every * np.arange(1, T + 1)``; numbers from 1 if None.
        num: Pictures shown, evenly spaced, the last one included.

    Raises:
        ImportError: Without matplotlib.
        ValueError: For what is no batch of pictures, or other numbers of steps than of pictures.
    """
    images = np.asarray(images)
    if images.ndim != 4 or not len(images):
        raise ValueError(f"plot.film: images has shape {images.shape} but must be recorded pictures (T, H, W, C).")
    steps = list(range(1, len(images) + 1)) if steps is None else [int(step) for step in steps]
    if len(steps) != len(images):
        raise ValueError(
            f"plot.film: steps has {len(steps)} numbers but must have one for each of {len(images)} images."
        )
    count = min(check_whole("plot.film: num", num), len(images))
    chosen = np.unique(np.linspace(len(images) - 1, 0, count).round().astype(int))
    return panel({f"step {steps[i]}": images[i] for i in chosen}, columns=len(chosen))


def samples(
    samples: Any, truth: Any = None, *, measured: Any = None, where: Any = None, low: float = -1.0, high: float = 1.0
) -> "Figure":
    """Posterior samples: one of them, their mean, and a map of their spread; with the truth its error and coverage.

    Args:
        samples: Draws (K, H, W, C) of one picture.
        truth: The true picture (H, W, C), if it is known: shows the mean's error, and how much of the truth lies
            within the samples' intervals (``rd.diagnostics.coverage``).
        measured: A picture of the measurement, to be shown first.
        where: The pixels that the coverage counts, true or nonzero (H, W) or (H, W, 1); all if None.
        low: Value that is black.
        high: Value that is white.

    Raises:
        ImportError: Without matplotlib.
        ValueError: For fewer than two samples, or shapes that do not fit.
    """
    draws = np.asarray(samples, np.float32)
    if draws.ndim != 4 or len(draws) < 2:
        raise ValueError(f"plot.samples: samples has shape {draws.shape} but must be (K, H, W, C), two at least.")
    mean, spread = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    named = {"measured": measured} if measured is not None else {}
    if truth is None:
        named |= {"a sample": draws[0], "mean": mean}
        maps = {"spread of the samples": spread}
    else:
        truth = np.asarray(truth, np.float32)
        if truth.shape != mean.shape:
            raise ValueError(f"plot.samples: truth has shape {truth.shape} but the samples have {mean.shape}.")
        named |= {"a sample, " + _decibels(draws[0], truth, high - low): draws[0]}
        named |= {"mean, " + _decibels(mean, truth, high - low): mean}
        maps = {"spread of the samples": spread, "error of the mean": np.abs(mean - truth)}
    shown = {title: _pixels("plot.samples", picture, low, high) for title, picture in named.items()}
    count = len(shown) + len(maps) + (truth is not None)
    columns = 3 if count > 4 else count
    figure, axes, ratio = _grid([*shown.values()], math.ceil(count / columns), columns)
    places = iter(axes.flat)
    for title, picture in shown.items():
        _show(next(places), ratio, picture, title)
    top = max(float(np.quantile(each.mean(axis=-1), 0.995)) for each in maps.values())  # one scale: they are compared
    for title, each in maps.items():
        axis = next(places)
        axis.imshow(each.mean(axis=-1), cmap="magma", vmin=0, vmax=top or None, interpolation="nearest")
        _bare(axis, f"{title}, to {top:.2g}")
    if truth is not None:
        _draw_coverage(next(places), truth, draws, where)
    return figure


def curves(values: Any, *, x: Any = None, xlabel: str = "step") -> "Figure":
    """Scalars against steps, on logarithmic axes where all are above 0: the residual, the prior's pull, the level.

    Args:
        values: ``solution.info``, or name -> numbers (T,), or (B, T) for a line each.
        x: What they are drawn against, (T,); the numbers of the steps from 1 if None.
        xlabel: Its name.

    Raises:
        ImportError: Without matplotlib.
        ValueError: If there is nothing to draw.
    """
    named = values if isinstance(values, Mapping) else {name: value for name, value in vars(values).items()}
    named = {name: np.atleast_2d(np.asarray(value)) for name, value in named.items() if isinstance(value, _ARRAYS)}
    named = {name: value for name, value in named.items() if value.ndim == 2 and value.size}
    if not named:
        raise ValueError(f"plot.curves: values is {describe(values)} but must have numbers (T,) or (B, T) by name.")
    figure, axes = _pyplot().subplots(
        1, len(named), figsize=(WIDTH, 3.0), layout="constrained", squeeze=False, sharex=True
    )
    for axis, (name, lines) in zip(axes[0], named.items(), strict=True):
        places = np.arange(1, lines.shape[1] + 1) if x is None else np.asarray(x)
        axis.plot(places, lines.T, linewidth=1 if len(lines) > 1 else 1.5)
        finite = lines[np.isfinite(lines)]
        axis.set(xlabel=xlabel, title=name, yscale="log" if finite.size and finite.min() > 0 else "linear")
        axis.grid(alpha=0.3)
    return figure


def lines(
    charts: Mapping[str, Mapping[str, Any]],
    *,
    xlabel: str = "",
    ylabel: str = "",
    xlog: bool = False,
    ylog: bool = False,
    bold: str | None = None,
    columns: int | None = None,
    figure: "FigureBase | None" = None,
) -> "Figure":
    """Charts side by side on axes of one kind; a label has one colour and style in all of them, and one legend.

    Args:
        charts: Title -> label -> points (x, y): two sequences of one length.
        xlabel: What lies along.
        ylabel: What goes up.
        xlog: Whether x is logarithmic.
        ylog: Whether y is logarithmic.
        bold: Label of a line to be drawn thick.
        columns: Charts in a row; four if None.
        figure: What to draw in, such as one of ``figure.subfigures(1, 2)``; a new figure if None.

    Raises:
        ImportError: Without matplotlib.
        ValueError: For no charts, or sequences of different lengths.
    """
    labels = {label: i for i, label in enumerate(dict.fromkeys(label for each in charts.values() for label in each))}
    if not labels:
        raise ValueError("plot.lines: charts is empty but must have a title with a label and its points at least.")
    for title, each in charts.items():
        for label, (x, y) in each.items():
            if len(x) != len(y):
                raise ValueError(
                    f"plot.lines: {title!r}, {label!r} has {len(x)} x but {len(y)} y; every point needs both."
                )
    drawn, axes = _charts("plot.lines", len(charts), columns, figure, 0.72)
    for axis, (title, each) in zip(axes.flat, charts.items(), strict=False):
        for label, (x, y) in each.items():
            i = labels[label]
            axis.plot(
                x,
                y,
                color=f"C{i % 10}",
                linestyle=("-", "--", ":", "-.")[i // 10 % 4],
                linewidth=2.5 if label == bold else 1,
                marker="." if len(x) < _FEW else None,
                label=label,
            )
        axis.set(xscale="log" if xlog else "linear", yscale="log" if ylog else "linear")
        axis.set_title(title, fontsize=_SMALL if len(axes[0]) < _MOST_CHARTS else _SMALL - 2)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=_SMALL - 2)
    # Every label once, with the line that the first chart has of it.
    named = {}
    for axis in axes.flat:
        for line, label in zip(*axis.get_legend_handles_labels(), strict=True):
            named.setdefault(label, line)
    top = drawn if figure is None else figure
    top.supxlabel(xlabel, fontsize=_SMALL)
    top.supylabel(ylabel, fontsize=_SMALL)
    if len(charts) == 1:
        axes[0, 0].legend(named.values(), named, fontsize=_SMALL - 1)
    else:
        top.legend(named.values(), named, loc="outside right upper", fontsize=_SMALL - 1)
    return drawn


def points(clouds: Mapping[str, Any], *, behind: Any = None, columns: int | None = None) -> "Figure":
    """Clouds of points in the plane side by side on the same axes: two coordinates of posterior samples, say.

    Args:
        clouds: Title -> points (N, 2).
        behind: Points (M, 2) that each is drawn over, in gray, such as samples of the exact posterior.
        columns: Clouds in a row; four if None.

    Raises:
        ImportError: Without matplotlib.
        ValueError: For no clouds, or points of another shape.
    """
    every = {title: np.asarray(cloud) for title, cloud in clouds.items()}
    if not every:
        raise ValueError("plot.points: clouds is empty but must have a title and points at least.")
    for title, cloud in {**every, **({} if behind is None else {"behind": np.asarray(behind)})}.items():
        if cloud.ndim != 2 or cloud.shape[1] != 2:
            raise ValueError(f"plot.points: {title!r} has shape {cloud.shape} but must be points (N, 2).")
    drawn, axes = _charts("plot.points", len(every), columns, None, 1.0, share=True)
    for axis, (title, cloud) in zip(axes.flat, every.items(), strict=False):
        if behind is not None:
            axis.plot(*np.asarray(behind).T, ".", color="0.75", markersize=3, markeredgewidth=0)
        axis.plot(*cloud.T, ".", color="C3", markersize=2.5, markeredgewidth=0)
        axis.set_title(title, fontsize=_SMALL)
        axis.set_aspect("equal")
    return drawn


def coverage(truth: Any, samples: Any, *, where: Any = None) -> "Figure":
    """How much of the truth lies within central intervals of the samples, against the intervals' level.

    The curve of right error bars is the diagonal; below it they are too narrow.

    Args:
        truth: The true picture, (H, W, C), or many (B, H, W, C).
        samples: Draws (K, H, W, C), or (K, B, H, W, C).
        where: The pixels that count, true or nonzero: (H, W), (H, W, 1) or truth's shape; all if None.

    Raises:
        ImportError: Without matplotlib.
        ValueError: If shapes do not fit, or there are too few samples for any interval.
    """
    figure, axis = _pyplot().subplots(figsize=(3.6, 3.4), layout="constrained")
    _draw_coverage(axis, np.asarray(truth), np.asarray(samples), where)
    return figure


_ARRAYS = (np.ndarray, jax.Array, list, tuple)


def _columns(function: str, count: int, columns: int | None) -> int:
    if columns is None:
        columns = count if count <= 4 else math.ceil(math.sqrt(2 * count))
    return min(check_whole(f"{function}: columns", columns), count)


def _draw_coverage(axis: "Axes", truth: np.ndarray, samples: np.ndarray, where: Any) -> None:
    if samples.shape[1:] != truth.shape:
        raise ValueError(f"plot.coverage: samples has shape {samples.shape} but truth {truth.shape}; put draws first.")
    if where is not None:
        counted = np.asarray(where) != 0
        if counted.ndim == truth.ndim - 1:
            counted = counted[..., None]
        counted = np.broadcast_to(counted, truth.shape)
        truth, samples = truth[counted], samples[:, counted]
    # Intervals end at order statistics: K samples have levels down from (K - 1) / (K + 1).
    most = (len(samples) - 1) / (len(samples) + 1)
    levels = [level / 10 for level in range(1, 10) if level / 10 <= most + 1e-9]
    if not levels or not truth.size:
        raise ValueError(f"plot.coverage: {len(samples)} samples of {truth.size} pixels have no intervals; draw more.")
    inside = diagnostics.coverage(jnp.asarray(truth), jnp.asarray(samples), levels=levels)
    axis.axis("on")
    axis.plot([0, 1], [0, 1], color="gray", linewidth=1)
    axis.plot(levels, np.asarray(inside), "o-")
    axis.set(
        xlabel="interval's level", ylabel="pixels inside", title="coverage", aspect="equal", xlim=(0, 1), ylim=(0, 1)
    )


def _decibels(x: np.ndarray, truth: np.ndarray, data_range: float) -> str:
    return f"{float(metrics.psnr(jnp.asarray(x), jnp.asarray(truth), data_range=data_range)):.1f} dB"


def _pixels(function: str, picture: Any, low: float, high: float) -> np.ndarray:
    """What matplotlib shows: (H, W) or (H, W, 3), uint8 or in [0, 1]."""
    array = np.asarray(picture)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    right = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not right or not array.size or array.dtype == object:
        raise ValueError(
            f"{function}: a picture is {describe(picture)} but must be (H, W), (H, W, 1) or (H, W, 3); "
            f"of a batch take one, or use plot.rows."
        )
    if np.iscomplexobj(array):
        raise ValueError(f"{function}: a picture is complex; show its magnitude, abs(x).")
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.float32)
    with np.errstate(invalid="ignore"):
        return np.clip((array.astype(np.float32) - low) / (high - low), 0, 1)


def _grid(
    pictures: Sequence[np.ndarray], num_rows: int, columns: int, figure: "FigureBase | None" = None
) -> "tuple[Figure, np.ndarray, float]":
    """A figure whose cells have the shape of the tallest picture, its empty axes, and that ratio of height to width."""
    ratios = [picture.shape[0] / picture.shape[1] for picture in pictures]
    usual = float(np.median(ratios))
    # A measurement among pictures may be a hundred times as high as wide: it is stretched into a cell.
    ratio = max(each for each in ratios if 1 / _STRANGE <= each / usual <= _STRANGE)
    cell = WIDTH / columns
    figure = _figure((WIDTH, num_rows * (cell * ratio + _TITLE) + _MARGIN)) if figure is None else figure
    axes = figure.subplots(num_rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    return _whole(figure), axes, ratio


def _charts(
    function: str,
    count: int,
    columns: int | None,
    figure: "FigureBase | None",
    ratio: float,
    *,
    share: bool = False,
) -> "tuple[Figure, np.ndarray]":
    """A figure with as many charts, of that ratio of height to width, and their axes."""
    columns = _columns(function, count, _MOST_CHARTS if columns is None else columns)
    num_rows, cell = math.ceil(count / columns), WIDTH / max(columns, 2)
    figure = _figure((columns * cell, num_rows * (cell * ratio + _TITLE))) if figure is None else figure
    axes = figure.subplots(num_rows, columns, squeeze=False, sharex=share, sharey=share)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return _whole(figure), axes


def _figure(size: tuple[float, float]) -> "Figure":
    return _pyplot().figure(figsize=size, layout="constrained")


def _whole(figure: "FigureBase") -> "Figure":
    """The figure that a part of one belongs to, or itself."""
    whole = figure.get_figure(root=True)
    assert whole is not None
    return whole


def _show(axis: "Axes", ratio: float, picture: np.ndarray, title: str = "", *, small: bool = False) -> None:
    top = 255 if picture.dtype == np.uint8 else 1
    axis.imshow(picture, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
    if not 1 / _STRANGE <= picture.shape[0] / picture.shape[1] / ratio <= _STRANGE:
        axis.set_aspect("auto")
    _bare(axis, title, small=small)


def _bare(axis: "Axes", title: str, *, small: bool = False) -> None:
    """Axes with neither ticks nor frame, whose label on the left can be seen."""
    axis.axis("on")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=_SMALL if small else None)


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError('reddiff_jax.plot draws with matplotlib; pip install "reddiff_jax[plot]".') from None
    return pyplot
