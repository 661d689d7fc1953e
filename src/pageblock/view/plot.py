"""Pictures of a sweep: PNG and SVG by matplotlib, a page with plotly that can be zoomed and asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..lab.sweep.curves import Band, HeatMap, Survival, shown
from ..output import whole_file

__all__ = ["FORMATS", "Curve", "draw_bands", "draw_curves", "draw_heat_map", "draw_survival"]

FORMATS = (".png", ".svg", ".html")

#: Okabe and Ito's colours, told apart with each kind of colour blindness.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C6D31")

INCHES, DPI = (9.0, 5.0), 150

#: A curve: (name, x, mean, low, high, shape), shape ``linear`` or ``hv`` for steps.
Curve = tuple[str, Any, Any, Any, Any, str]

#: Seconds of the largest unit of time in which an axis has at least two.
UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


def draw_bands(path: Path, found: Sequence[Band], value: str, title: str, *, force: bool) -> None:
    """Means over time, each in the band of its 95 % interval."""
    unit, length = _unit(max(float(band.seconds[-1]) for band in found))
    curves = [(f"{b.group} ({b.runs})", b.seconds / length, b.mean, b.low, b.high, "linear") for b in found]
    draw_curves(path, curves, f"model time, {unit}", _words(value), title, force=force)


def draw_survival(path: Path, found: Sequence[Survival], value: str, title: str, *, force: bool) -> None:
    """Chance that there still is one, after each time."""
    unit, length = _unit(max(float(one.seconds[-1]) for one in found))
    curves = [
        (f"{s.group} ({s.lost} of {s.runs} lost)", s.seconds / length, s.share, s.low, s.high, "hv") for s in found
    ]
    y = f"share of runs with {_words(value)} left"
    draw_curves(path, curves, f"model time, {unit}", y, title, force=force, limits=(0.0, 1.02))


def draw_heat_map(path: Path, found: HeatMap, title: str, *, force: bool) -> None:
    """Mean at the end over two parameters, with the number in each cell."""
    xs, ys = [shown(found.x, x) for x in found.xs], [shown(found.y, y) for y in found.ys]
    words = _words(found.value)
    if path.suffix == ".html":
        import plotly.graph_objects as go

        cells = [["" if np.isnan(v) else f"{v:,.4g}" for v in row] for row in found.mean]
        hover = f"{found.x} %{{x}}<br>{found.y} %{{y}}<br>%{{z:,.6g}}<br>%{{customdata}} runs<extra></extra>"
        heat = go.Heatmap(x=xs, y=ys, z=found.mean, text=cells, customdata=found.runs, hovertemplate=hover)
        heat.update(texttemplate="%{text}", colorscale="Viridis", colorbar_title=words)
        figure = go.Figure(heat)
        figure.update_layout(title=title, xaxis_title=found.x, yaxis_title=found.y, template="simple_white")
        figure.update_xaxes(type="category")
        figure.update_yaxes(type="category")
        _page(path, figure, force)
        return
    figure, axes = _figure()
    image = axes.imshow(found.mean, origin="lower", aspect="auto", cmap="viridis")
    axes.set_xticks(range(len(xs)), xs)
    axes.set_yticks(range(len(ys)), ys)
    middle = (np.nanmin(found.mean) + np.nanmax(found.mean)) / 2
    for i, j in np.ndindex(found.mean.shape):
        if not np.isnan(found.mean[i, j]):
            color = "white" if found.mean[i, j] <= middle else "black"
            axes.text(j, i, f"{found.mean[i, j]:,.4g}", ha="center", va="center", color=color)
    axes.set(xlabel=found.x, ylabel=found.y, title=title)
    figure.colorbar(image, label=words)
    _save(path, figure, force)


def draw_curves(
    path: Path,
    curves: Sequence[Curve],
    x: str,
    y: str,
    title: str,
    *,
    force: bool,
    limits: tuple[float, float] | None = None,
    log: bool = False,
    mark: tuple[float, str] | None = None,
) -> None:
    """Curves in their bands. ``limits``: of y; ``log``: whether y is logarithmic; ``mark``: a height and what it is, a line."""
    if path.suffix == ".html":
        import plotly.graph_objects as go

        figure = go.Figure()
        for i, (name, at, mean, low, high, shape) in enumerate(curves):
            color = COLORS[i % len(COLORS)]
            band = {"line": {"width": 0, "shape": shape}, "hoverinfo": "skip", "showlegend": False, "legendgroup": name}
            figure.add_scatter(x=at, y=high, mode="lines", **band)
            figure.add_scatter(x=at, y=low, mode="lines", fill="tonexty", fillcolor=_pale(color), **band)
            line = {"color": color, "shape": shape, "dash": ("solid", "dash", "dot")[i // len(COLORS) % 3]}
            figure.add_scatter(x=at, y=mean, mode="lines", name=name, legendgroup=name, line=line)
        figure.update_layout(title=title, xaxis_title=x, yaxis_title=y, template="simple_white", hovermode="x unified")
        if log:
            figure.update_yaxes(type="log", range=None if limits is None else np.log10(limits))
        else:
            figure.update_yaxes(range=limits, rangemode="tozero")
        if mark is not None:
            figure.add_hline(mark[0], line_dash="dot", line_color="#555555", annotation_text=mark[1])
        _page(path, figure, force)
        return
    figure, axes = _figure()
    for i, (name, at, mean, low, high, shape) in enumerate(curves):
        color, dash = COLORS[i % len(COLORS)], ("-", "--", ":")[i // len(COLORS) % 3]
        step = "post" if shape == "hv" else None
        axes.fill_between(at, low, high, step=step, color=color, alpha=0.18, linewidth=0)
        axes.plot(at, mean, dash, color=color, label=name, drawstyle="steps-post" if step else "default")
    axes.set(xlabel=x, ylabel=y, title=title)
    if log:
        axes.set_yscale("log")
    axes.set_ylim(*(limits or (None if log else 0, None)))
    axes.margins(x=0)
    if mark is not None:
        axes.axhline(mark[0], color="#555555", linestyle=":", linewidth=1)
        axes.annotate(mark[1], (0.01, mark[0]), xycoords=("axes fraction", "data"), va="bottom", fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    _save(path, figure, force)


def _figure() -> tuple[Any, Any]:
    """A matplotlib figure that belongs to no window."""
    from matplotlib.figure import Figure

    figure = Figure(INCHES, layout="constrained")
    return figure, figure.subplots()


def _save(path: Path, figure: Any, force: bool) -> None:
    """Write it; the same figure gives the same bytes."""
    import matplotlib as mpl

    kind = path.suffix.removeprefix(".")
    with mpl.rc_context({"svg.hashsalt": "pageblock"}), whole_file(path, force=force) as file:
        figure.savefig(file, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)


def _page(path: Path, figure: Any, force: bool) -> None:
    """Write one self-contained page."""
    html: str = figure.to_html(include_plotlyjs=True, full_html=True, div_id="plot")
    with whole_file(path, force=force) as file:
        file.write(html.encode())


def _pale(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _unit(seconds: float) -> tuple[str, float]:
    return next(((name, length) for name, length in UNITS if seconds >= 2 * length), UNITS[-1])


def _words(value: str) -> str:
    """A value as an axis says it."""
    kind, colon, size = value.partition(":")
    if not colon:
        return value.replace("_", " ")
    return f"{size} ranges {'that can be had' if kind == 'had' else kind}"
