"""The family tree of evolved tasks with their pictures, drawn by hand as SVG."""

import io
from collections.abc import Callable, Sequence

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageChops

from agents.reports.evolution import Evolution, Niche
from agents.reports.figures import INK, LEAD, MUTED, RULE, data_uri
from taskgen import lineage
from taskgen.build import family_of
from taskgen.pictures import picture_of

_ROW, _WIDTH, _TEXT, _AXIS = 40, 860, 190, 26  # pixels of the tree
_PICTURE = (120, 36)
SOLVED, LEARNING, RETIRED, FAILED = LEAD[0], "#E69F00", "#9aa3ad", LEAD[1]
"""Colours of a niche's life: once solved, while its agent learns, after it stopped unsolved, where it failed."""


def family_order(niches: Sequence[Niche]) -> list[int]:
    """Numbers of the niches, every one right after its ancestors and older siblings with their descendants."""
    children: dict[int | None, list[int]] = {}
    for niche in niches:
        children.setdefault(niche.parent, []).append(niche.number)
    order, waiting = [], [*reversed(children.get(None, []))]
    while waiting:
        order.append(waiting.pop())
        waiting += reversed(children.get(order[-1], []))
    return order


def tree_figure(run: Evolution) -> Markup:
    """A row for every niche, children below their parents: its picture, and its life along the iterations."""
    order = family_order(run.niches)
    row = {number: place for place, number in enumerate(order)}
    end = max(run.iterations, 1)
    left, right = _PICTURE[0] + _TEXT, _WIDTH - 24

    def x(iteration: float) -> float:
        return left + (right - left) * iteration / end

    def y(number: int) -> float:
        return _AXIS + _ROW * (row[number] + 0.5)

    height = _AXIS + _ROW * len(order) + 6
    parts = [_axis(x, end, height)]
    for number in order:
        niche = run.niches[number]
        created = niche.score(lineage.CREATED) or 0.0
        if niche.parent is not None:
            parts.append(_line(x(created), y(niche.parent), x(created), y(number), MUTED, 1.0))
        parts.append(_life(niche, x, y(number), created, end))
        parts.append(_label(niche, y(number)))
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" width="{}" font-size="11">{}</svg>'
    ).format(_WIDTH, height, _WIDTH, Markup("").join(parts))


def _axis(x: Callable[[float], float], end: int, height: float) -> Markup:
    parts: list[Markup] = []
    for tick in MaxNLocator(6, integer=True).tick_values(0, end):
        if 0 <= tick <= end:
            parts.append(_line(x(tick), _AXIS - 6, x(tick), height, RULE, 1.0))
            parts.append(
                Markup('<text x="{:.1f}" y="12" text-anchor="middle" fill="{}">{:g}</text>').format(
                    x(tick), MUTED, tick
                )
            )
    return Markup("").join([*parts, Markup('<text x="0" y="12" fill="{}">task and iteration</text>').format(MUTED)])


def _life(niche: Niche, x: Callable[[float], float], y: float, created: float, end: float) -> Markup:
    retired, solved = niche.score(lineage.RETIRED), niche.score(lineage.SOLVED)
    last = end if retired is None else retired
    learnt = last if solved is None else min(solved, last)
    before = FAILED if niche.score(lineage.FAILED) else RETIRED if retired is not None and solved is None else LEARNING
    lines = [_line(x(created), y, x(learnt), y, before, 5.0)]
    if solved is not None:
        lines.append(_line(x(learnt), y, max(x(last), x(learnt) + 3), y, SOLVED, 5.0))
    ring = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4" fill="{}" stroke="{}"/>')
    lines.append(ring.format(x(created), y, "white" if solved is None else SOLVED, INK))
    return Markup("").join(lines)


def _label(niche: Niche, y: float) -> Markup:
    picture = _without_margins(picture_of(family_of(niche.spec).render(niche.spec)))
    scale = min(_PICTURE[0] / picture.width, _PICTURE[1] / picture.height)
    width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    shown = picture.resize((2 * width, 2 * height))  # twice the pixels, for sharp screens
    buffer = io.BytesIO()
    shown.quantize(32).save(buffer, "PNG", optimize=True)
    solved = "" if niche.solve_time is None else f", solved in {niche.solve_time:g}"
    score = niche.score(lineage.SCORE)
    earned = "" if score is None else f"{score:.4g}"
    return Markup(
        '<image href="{}" x="0" y="{:.1f}" width="{}" height="{}"/>'
        '<text x="{}" y="{:.1f}" fill="{}"><title>task {}</title>{} {}<tspan fill="{}"> {}{}</tspan></text>'
    ).format(
        data_uri(buffer.getvalue(), "png"), y - height / 2, width, height,
        _PICTURE[0] + 8, y + 4, INK, niche.spec.id, niche.number, niche.spec.id[:6], MUTED, earned, solved,
    )  # fmt: skip


def _without_margins(picture: Image.Image) -> Image.Image:
    """What there is to see: without the rows and columns at the edges that are of the colour of the corner."""
    background = Image.new(picture.mode, picture.size, picture.getpixel((0, 0)))
    seen = ImageChops.difference(picture, background).getbbox()
    return picture if seen is None else picture.crop(seen)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> Markup:
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}" stroke-width="{}"/>').format(
        x1, y1, x2, y2, colour, width
    )
