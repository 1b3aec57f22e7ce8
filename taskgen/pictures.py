"""Pictures of tasks: one each, and a contact sheet of many."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from taskgen.build import family_of
from taskgen.space import readable
from taskgen.spec import TaskSpec
from taskgen.taskset import staged

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

_SIDE = 260  # of the square that a frame on a contact sheet is fitted into, in pixels
_TEXT_SIDES = 620, 280  # of the rectangle that is left of a text there: made smaller it could not be read
_GAP = 12
LEAST = 140
"""Smaller frames are enlarged where people look at them, on contact sheets and in films."""
_CAPTION = 20
_LEADING = 15  # pixels from line to line of a caption
_CAPTION_COLUMNS, _CAPTION_LINES = 36, 4
_TEXT_SIZE = 12
_LINES = 200  # of a text that are drawn
_COLUMNS = 160
_PAPER, _INK, _FAINT = (255, 255, 255), (35, 35, 40), (110, 110, 118)


def picture_of(rendered: NDArray[np.uint8] | str) -> "Image":
    """What a family renders as an RGB image; text is drawn."""
    return text_picture(rendered) if isinstance(rendered, str) else frame_picture(rendered)


def frame_picture(frame: NDArray[np.uint8], *, least: int = 1) -> "Image":
    """An RGB frame [height, width, 3] as an image; a small one is enlarged until a side has `least` pixels or more."""
    from PIL import Image

    factor = max(1, math.ceil(least / max(frame.shape[:2])))
    return Image.fromarray(np.ascontiguousarray(frame.repeat(factor, 0).repeat(factor, 1)))


def text_picture(text: str) -> "Image":
    """Text as an image, in letters of one width; what goes beyond 160 columns and 200 lines is left out."""
    from PIL import Image, ImageDraw

    lines = [line if len(line) <= _COLUMNS else line[: _COLUMNS - 3] + "..." for line in text.splitlines()]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"... {len(lines) - _LINES + 1} more lines"]
    shown = "\n".join(lines)
    letters = font(_TEXT_SIZE)
    bottom = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), shown, letters)[3]
    right = max(map(letters.getlength, lines), default=0.0)
    picture = Image.new("RGB", (math.ceil(right) + 2 * _GAP, math.ceil(bottom) + 2 * _GAP), _PAPER)
    ImageDraw.Draw(picture).multiline_text((_GAP, _GAP), shown, _INK, letters)
    return picture


def contact_sheet(rendered: Iterable[tuple[str, NDArray[np.uint8] | str]]) -> "Image":
    """Frames and texts side by side in one image, each over its caption; large frames are shrunk, large texts cut."""
    from PIL import Image, ImageDraw

    tiles = [(caption, _tile(shown)) for caption, shown in rendered]
    width = max(picture.width for _, picture in tiles) + _GAP
    height = max(picture.height for _, picture in tiles) + _GAP + _CAPTION
    lines = max(caption.count("\n") + 1 for caption, _ in tiles)
    height += (lines - 1) * _LEADING
    columns = max(1, min(len(tiles), round(math.sqrt(1.4 * len(tiles) * height / width))))
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _PAPER)
    pen, letters = ImageDraw.Draw(sheet), font(_TEXT_SIZE)
    for index, (caption, picture) in enumerate(tiles):
        row, column = divmod(index, columns)
        left, top = _GAP + column * width, _GAP + row * height
        sheet.paste(picture, (left, top))
        pen.rectangle((left - 1, top - 1, left + picture.width, top + picture.height), outline=(215, 215, 220))
        pen.multiline_text((left, top + picture.height + 2), caption, _FAINT, letters, spacing=_LEADING - _TEXT_SIZE)
    return sheet


def write_pictures(directory: Path, specs: Sequence[TaskSpec], *, overwrite: bool = False) -> Sequence[Path]:
    """`contact-sheet.png` of the tasks, and one PNG each named by place in the file and id, in `directory`.

    Returns what was written, the sheet first. Raises `TaskError` for a file that exists, unless `overwrite`.
    """
    from taskgen.progress import track

    varied = _varied(specs)
    shown: list[tuple[str, NDArray[np.uint8] | str]] = []
    paths = [directory / "contact-sheet.png"]
    for index, spec in track(enumerate(specs), len(specs), "pictures"):
        rendered = family_of(spec).render(spec)
        paths.append(directory / f"{index:04d}-{spec.id[:8]}.png")
        save(picture_of(rendered), paths[-1], overwrite=overwrite)
        values = "" if isinstance(rendered, str) else _values(spec, varied)
        shown.append((f"{index}  {spec.id[:8]}{values}", rendered))
    save(contact_sheet(shown), paths[0], overwrite=overwrite)
    return paths


def _varied(specs: Sequence[TaskSpec]) -> list[str]:
    """Knobs of one number or two in which tasks differ: what can be told under a picture."""
    names = dict.fromkeys(name for spec in specs for name in spec.context)
    return [
        name
        for name in names
        if len({readable(spec.context.get(name)) for spec in specs}) > 1
        and all(len(_flat(spec.context.get(name))) <= 2 for spec in specs)
    ]


def _flat(value: object) -> Sequence[object]:
    return value if isinstance(value, tuple) else (value,)  # pyright: ignore[reportUnknownVariableType]


def _values(spec: TaskSpec, names: Sequence[str]) -> str:
    """The knobs `names` of a task, as lines of a caption."""
    words = [f"{name} {readable(spec.context[name])}" for name in names if name in spec.context]
    lines = textwrap.wrap(", ".join(words), _CAPTION_COLUMNS, max_lines=_CAPTION_LINES, placeholder=" ...")
    return "".join(f"\n{line}" for line in lines)


def save(picture: "Image", path: Path, *, overwrite: bool = False) -> None:
    """Write a PNG, all or nothing. Raises `TaskError` when the file exists, unless `overwrite`."""
    with staged(path, overwrite=overwrite) as file:
        picture.save(file, format="PNG")


def font(size: int) -> "FreeTypeFont":
    """A typeface whose letters have one width."""
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSansMono.ttf"), size)


def _tile(rendered: NDArray[np.uint8] | str) -> "Image":
    from PIL import Image

    if isinstance(rendered, str):
        picture = text_picture(rendered)
        return picture.crop((0, 0, min(picture.width, _TEXT_SIDES[0]), min(picture.height, _TEXT_SIDES[1])))
    picture = frame_picture(rendered, least=LEAST)
    scale = min(1.0, _SIDE / picture.width, _SIDE / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture if scale == 1.0 else picture.resize(size, Image.Resampling.LANCZOS)
