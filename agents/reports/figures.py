"""Figures of a report as SVG text: one look, colours that colour-blind readers can tell apart, labels at the lines.

Colours: Okabe and Ito 2008, "Color Universal Design". Lines of one figure also differ in dash and marker.
"""

import base64
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FormatStrFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

INK, MUTED, RULE = "#1f2328", "#5b636d", "#d8dde3"
LEAD = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of the agents under study."""
OTHERS = ("#CC79A7", "#E69F00", "#009E73", "#56B4E9", "#7f7f7f", "#8c6bb1", "#a6761d")
"""Colours of reference players."""
PIXELS = 104
"""Per inch of a figure."""
LABEL = 28
"""Characters of a line of a label; longer ones are broken."""
DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (7, 2, 1, 2)), (0, (3, 1.5)), (0, (5, 1.5, 1, 1.5, 1, 1.5)))
MARKERS = "osD^vPX"

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: to be selected, searched and read aloud
    "svg.hashsalt": "taskgen",
    "text.parse_math": False,  # names are shown as they are
    "font.size": 10.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
}


@dataclass(frozen=True)
class Band:
    """A line with an interval: x [N], mean, low and high [N]. The interval is left out where low and high are NaN."""

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """Lines over one and the same x, under a title: the first one drawn thick with its interval, the others thin."""

    title: str
    lines: Sequence[Band]
    share: bool = False
    """Whether values are shares, from 0 to 1."""


@dataclass(frozen=True)
class Heat:
    """A grid [Y, X] of values, NaN where there is none."""

    values: NDArray[np.float64]
    across: str
    up: str
    """What its rows are, from below; "" where there is but one."""
    ends: tuple[tuple[float, float], tuple[float, float]]
    """Where it begins and ends, across and up."""


@dataclass(frozen=True)
class Curve:
    """The learning curve of one agent: its mean over runs, the runs themselves, and its return on held-out tasks."""

    label: str
    mean: Band
    runs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
    held_out: Band


def learning_figure(curves: Sequence[Curve], references: Mapping[str, float], name: str) -> Markup:
    """Mean trial return against environment steps; reference players as dashed horizontal lines."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(4.3)
        ends: list[tuple[float, str, str, bool]] = []
        for curve, colour in zip(curves, _cycle(LEAD, len(curves)), strict=True):
            if len(curve.runs) > 1:
                for x, y in curve.runs:
                    axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.4)
            axes.plot(curve.mean.x, curve.mean.mean, color=colour, linewidth=2)
            _shade(axes, curve.mean, colour)
            _points(axes, curve.held_out, colour)
            ends.append((float(curve.mean.mean[-1]), curve.label, colour, True))
        colours = _cycle(_unused(len(curves)), len(references))
        for i, (label, value) in enumerate(references.items()):
            axes.axhline(value, color=colours[i], linewidth=1.4, linestyle=DASHES[i % len(DASHES)])
            ends.append((value, label, colours[i], False))
        axes.set_xlim(0, max(float(x.max(initial=1)) for curve in curves for x in (curve.mean.x, curve.held_out.x)))
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.set_xlabel("environment steps")
        axes.set_ylabel("mean trial return")
        _label_ends(axes, ends)
        return _svg(figure, name)


def adaptation_figure(
    leads: Mapping[str, Band],
    others: Mapping[str, Band],
    name: str,
    *,
    logarithmic: bool = False,
    trained: Mapping[int, str] | None = None,
) -> Markup:
    """Return per adaptation episode of the agents (`leads`) and of the reference players (`others`).

    A line marks each number of episodes that agents were `trained` on, with who they are if that has to be said; beyond
    the last of them the ground is tinted.

    Who plays fewer episodes than others is continued by a dotted line to its name. Episodes are counted from 1, with
    `logarithmic` on a scale that keeps few and many of them apart.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(4.6)
        ends: list[tuple[float, str, str, bool]] = []
        episodes = max(float(band.x[-1]) for band in (*leads.values(), *others.values()))
        colours = _cycle(_unused(len(leads)), len(others))
        for i, (label, band) in enumerate(others.items()):
            marker = MARKERS[i % len(MARKERS)]
            style = {"marker": marker, "markersize": 4, "linewidth": 1.3, "linestyle": DASHES[i % len(DASHES)]}
            _course(axes, band, colours[i], episodes, 0.12, **style)
            ends.append((float(band.mean[-1]), label, colours[i], False))
        for i, (label, band) in enumerate(leads.items()):
            colour = LEAD[i % len(LEAD)]
            marker = MARKERS[i % len(MARKERS)]
            _course(axes, band, colour, episodes, 0.2, linewidth=2.4, marker=marker, markersize=5)
            ends.append((float(band.mean[-1]), label, colour, True))
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(0.9 if logarithmic else 1 - max(0.5, 0.04 * episodes), episodes)
        _mark_trained(axes, {last: who for last, who in (trained or {}).items() if last < episodes}, episodes)
        axes.set_xlabel("adaptation episode")
        axes.set_ylabel("mean return of the episode")
        _label_ends(axes, ends)
        return _svg(figure, name)


def profile_figure(leads: Mapping[str, Band], others: Mapping[str, Band], score: str, name: str) -> Markup:
    """Share of tasks above a score, `x` of each band: of agents (`leads`) thick with their bands, of others dashed."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(4.6)
        colours = [*_cycle(_unused(len(leads)), len(others)), *_cycle(LEAD, len(leads))]
        for i, ((label, line), colour) in enumerate(zip([*others.items(), *leads.items()], colours, strict=True)):
            style: dict[str, Any] = {"linewidth": 1.3, "linestyle": DASHES[i % len(DASHES)]}
            if label in leads:
                style = {"linewidth": 2.4}
                axes.fill_between(line.x, line.low, line.high, step="post", color=colour, alpha=0.2, linewidth=0)
            axes.plot(line.x, line.mean, drawstyle="steps-post", color=colour, label=label, **style)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel(score)
        axes.set_ylabel("share of tasks above")
        figure.legend(loc="outside lower left", ncols=3, frameon=False)
        return _svg(figure, name)


def panels_figure(panels: Sequence[Panel], across: str, name: str) -> Markup:
    """Panels below one another, x called `across` shared by all."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 0.6 + 1.5 * len(panels)), layout="constrained")
        grid: NDArray[Any] = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
        for axes, panel in zip(grid[:, 0], panels, strict=True):
            for i, (line, colour) in enumerate(zip(panel.lines, _cycle(LEAD, len(panel.lines)), strict=True)):
                axes.plot(line.x, line.mean, color=colour, linewidth=1.0 if i else 2.0, alpha=0.6 if i else 1.0)
                if not i:
                    axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.2, linewidth=0)
            axes.set_title(panel.title, loc="left", color=INK)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            if panel.share:
                axes.set_ylim(-0.03, 1.03)
        grid[-1, 0].set_xlim(0, max(float(line.x[-1]) for panel in panels for line in panel.lines))
        grid[-1, 0].xaxis.set_major_formatter(EngFormatter())
        grid[-1, 0].set_xlabel(across)
        return _svg(figure, name)


def heats_figure(heats: Sequence[Heat], label: str, name: str) -> Markup:
    """Grids beside one another, three a row, under one scale of colours, which is called `label`."""
    columns = min(3, len(heats))
    rows = -(-len(heats) // columns)
    every = np.concatenate([heat.values.ravel() for heat in heats])
    scale = Normalize(float(np.nanmin(every)), float(np.nanmax(every)))
    style: dict[Any, Any] = _STYLE | {"font.size": 9.5, "axes.grid": False}
    with mpl.rc_context(style):
        high = 2.6 if any(heat.up for heat in heats) else 1.3
        figure = Figure(figsize=(max(4.2, 2.8 * columns), high * rows), layout="constrained")
        grid: NDArray[Any] = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(heats) :]:
            axes.remove()
        for axes, heat in zip(grid.flat, heats, strict=False):
            up, across = (np.linspace(*ends, n + 1) for ends, n in zip(heat.ends[::-1], heat.values.shape, strict=True))
            axes.pcolormesh(across, up, heat.values, norm=scale, cmap="viridis")
            axes.set_xlabel(heat.across)
            axes.set_ylabel(heat.up)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_locator(MaxNLocator(4) if heat.up else NullLocator())
        figure.colorbar(ScalarMappable(scale, "viridis"), ax=list(grid.flat[: len(heats)]), label=label)
        return _svg(figure, name)


def histograms_figure(values: Mapping[str, NDArray[np.float64]], name: str) -> Markup:
    """One histogram per context knob, `values[knob]` [N]."""
    columns = min(3, len(values))
    rows = -(-len(values) // columns)
    style: dict[Any, Any] = _STYLE | {"font.size": 9.5, "axes.grid.axis": "y"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(max(4.2, 2.9 * columns), 2.1 * rows), layout="constrained")
        for i, (title, samples) in enumerate(values.items()):
            axes = figure.add_subplot(rows, columns, i + 1)
            axes.hist(samples, bins=_bins(samples), color=LEAD[0], edgecolor="white", linewidth=0.6)
            axes.set_title(title, loc="left", color=INK)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=bool((samples == np.round(samples)).all())))
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            if i % columns == 0:
                axes.set_ylabel("count", color=MUTED)
        return _svg(figure, name)


def counts_figure(counts: Mapping[str, NDArray[np.float64]], lead: str, name: str) -> Markup:
    """How many tasks there were of each kind after every iteration, `counts[kind]` [iterations]; `lead` stands out."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(3.6)
        ends: list[tuple[float, str, str, bool]] = []
        for (label, values), colour in zip(counts.items(), _cycle(LEAD, len(counts)), strict=True):
            width = 2.4 if label == lead else 1.5
            axes.step(np.arange(1, len(values) + 1), values, where="post", color=colour, linewidth=width)
            ends.append((float(values[-1]), label, colour, label == lead))
        axes.set_xlim(0, max(len(values) for values in counts.values()))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("iteration")
        axes.set_ylabel("tasks")
        _label_ends(axes, ends)
        return _svg(figure, name)


def transfers_figure(counts: NDArray[np.int64], name: str) -> Markup:
    """Accepted transfers, `counts` [N to, N from], the larger the square the more often."""
    to, source = np.nonzero(counts)
    size, often = len(counts), counts[to, source]
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(6.2)
        area = max(5.0, 320.0 / size) ** 2 * (0.3 + 0.7 * often / often.max(initial=1))
        axes.plot([-0.5, size - 0.5], [-0.5, size - 0.5], color=RULE, linewidth=1)
        axes.scatter(source, to, s=area, color=LEAD[0], marker="s", alpha=0.75, linewidths=0)
        axes.set(xlim=(-0.7, size - 0.3), ylim=(size - 0.3, -0.7), aspect="equal")
        axes.set_xlabel("agent from task number")
        axes.set_ylabel("taken over by task number")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(10, integer=True))
        return _svg(figure, name)


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.4, height), layout="constrained")
    return figure, figure.add_subplot()


def _cycle(colours: Sequence[str], count: int) -> list[str]:
    return [colours[i % len(colours)] for i in range(count)]


def _unused(leads: int) -> list[str]:
    return [colour for colour in OTHERS if colour not in LEAD[:leads]]


def _course(axes: Axes, band: Band, colour: str, end: float, alpha: float, **style: Any) -> None:
    """A player's line with its interval, and dotted from there to the last episode that anybody plays."""
    axes.plot(band.x, band.mean, color=colour, markevery=_every(band), clip_on=False, **style)
    _shade(axes, band, colour, alpha)
    if band.x[-1] < end:
        axes.plot([band.x[-1], end], [band.mean[-1]] * 2, color=colour, linewidth=0.9, linestyle=(0, (1, 3)))


def _mark_trained(axes: Axes, trained: Mapping[int, str], end: float) -> None:
    """A line after each number of episodes that agents were trained on, and a tint beyond the last one."""
    for last, who in trained.items():
        axes.axvline(last + 0.5, color=MUTED, linewidth=1.1, linestyle=(0, (2, 2)), zorder=0)
        axes.annotate(
            f"{who} trained on {last}".lstrip(), (last + 0.5, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha="center", va="bottom", fontsize=9, color=MUTED, annotation_clip=False,
        )  # fmt: skip
    if trained:
        axes.axvspan(max(trained) + 0.5, max(end, max(trained) + 0.5), color=RULE, alpha=0.45, linewidth=0, zorder=0)


def _every(band: Band) -> int:
    return max(1, len(band.x) // 20)


def _shade(axes: Axes, band: Band, colour: str, alpha: float = 0.2) -> None:
    if len(band.x) > 1:
        axes.fill_between(band.x, band.low, band.high, color=colour, alpha=alpha, linewidth=0)
    else:
        _points(axes, band, colour)


def _points(axes: Axes, band: Band, colour: str) -> None:
    reach = np.nan_to_num(np.stack([band.mean - band.low, band.high - band.mean]))
    axes.errorbar(
        band.x, band.mean, reach, color=colour, linestyle="none", marker="o", markersize=5.5,
        markerfacecolor="white", markeredgewidth=1.4, capsize=2.5, elinewidth=1.2, zorder=4, clip_on=False,
    )  # fmt: skip


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str, bool]]) -> None:
    """Write each line's name right of its end, pushed apart where they would overlap, joined by a leader."""
    low, high = axes.get_ylim()
    order = sorted((value, textwrap.fill(label, LABEL), colour, bold) for value, label, colour, bold in ends)
    gap = 0.058 * (high - low) * max(0.8 * label.count("\n") + 1 for _, label, *_ in order)
    places = spread([value for value, *_ in order], gap, low, high)
    for (value, label, colour, bold), place in zip(order, places, strict=True):
        across = axes.get_yaxis_transform()
        axes.plot(
            [1.0, 1.025, 1.05], [value, place, place], transform=across, color=colour, linewidth=1.6, clip_on=False
        )
        axes.text(1.06, place, label, transform=across, va="center", fontweight="bold" if bold else "normal")
    axes.set_ylim(low, high)


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near sorted `values`, at least `gap` apart and within [low, high] where there is room."""
    groups: list[list[float]] = []  # runs of touching labels, each centred on the mean of its values
    for value in values:
        groups.append([value])
        while len(groups) > 1 and _span(groups[-2], gap, low, high)[1] + gap > _span(groups[-1], gap, low, high)[0]:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_span(group, gap, low, high)[0] + gap * i for group in groups for i in range(len(group))]


def _span(group: Sequence[float], gap: float, low: float, high: float) -> tuple[float, float]:
    size = gap * (len(group) - 1)
    first = min(max(sum(group) / len(group) - size / 2, low), max(high - size, low))
    return first, first + size


def _bins(samples: NDArray[np.float64]) -> Sequence[float]:
    low, high = float(samples.min()), float(samples.max())
    if (samples == np.round(samples)).all() and high - low <= 30:
        return list(np.arange(low - 0.5, high + 1))
    return list(np.linspace(low, high, 21))


def _svg(figure: Figure, prefix: str) -> Markup:
    """The figure as an SVG element for the inside of a page; `prefix` keeps its ids apart from other figures'."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"\A.*?(?=<svg)|<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
    width = round(figure.get_figwidth() * PIXELS)  # one scale for all figures; the page shrinks those too wide for it
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', rf'\g<1> width="{width}"', svg, count=1)
    prefix = re.sub(r"[^a-z0-9-]", "", prefix.lower())
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    return Markup(svg)  # noqa: S704 (matplotlib escapes every text it writes)


def data_uri(content: bytes, kind: str) -> str:
    """An image inside a page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
