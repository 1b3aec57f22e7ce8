"""Pictures of tasks: what is on them, and that they are written whole or not at all."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from registry.cli import main
from registry.errors import TaskError
from taskgen import pictures
from taskgen.build import build_family
from taskgen.pictures import contact_sheet, frame_picture, save, text_picture, write_pictures


def ink(picture: Image.Image) -> int:
    """Dark pixels."""
    return int((np.asarray(picture.convert("L")) < 128).sum())


def test_text_is_drawn_in_letters_of_one_width() -> None:
    narrow, wide = text_picture("iiii"), text_picture("WWWW")
    assert narrow.size == wide.size
    assert 0 < ink(narrow) < ink(wide)
    assert text_picture("a\nb").height > text_picture("a").height
    assert text_picture("").size[0] > 0


def test_long_texts_are_cut() -> None:
    assert text_picture("x" * 10_000).size == text_picture("x" * 160).size
    assert text_picture("x\n" * 10_000).height == text_picture("x\n" * 200).height


def test_a_contact_sheet_shows_every_picture() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0)]
    frames = [np.full((150, 100, 3), colour, dtype=np.uint8) for colour in colours]
    frames[0] = np.full((15, 10, 3), colours[0], dtype=np.uint8)  # is enlarged
    frames[3] = np.full((3000, 4000, 3), colours[3], dtype=np.uint8)  # is shrunk
    sheet = contact_sheet([(str(index), frame) for index, frame in enumerate(frames)])
    pixels = np.asarray(sheet)
    counts = [int((pixels == colour).all(-1).sum()) for colour in colours]
    assert counts[:3] == [15_000] * 3
    assert counts[3] == 260 * 195
    assert ink(sheet) > 45_000
    assert max(sheet.size) < 1000


def test_a_picture_is_the_frame(tmp_path: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    save(frame_picture(frame), tmp_path / "a.png")
    assert (np.asarray(Image.open(tmp_path / "a.png")) == frame).all()
    with pytest.raises(TaskError, match="exists"):
        save(frame_picture(frame), tmp_path / "a.png")


def test_pictures_of_tasks_of_several_families(tmp_path: Path) -> None:
    maze, bandit = build_family("maze"), build_family("bandit")
    specs = [maze.spec(), bandit.spec(), maze.spec({"goal": (3, 4)})]
    sheet, *pictures = write_pictures(tmp_path / "new", specs)
    assert [path.name for path in pictures] == [f"{i:04d}-{spec.id[:8]}.png" for i, spec in enumerate(specs)]
    assert sorted((tmp_path / "new").iterdir()) == sorted([sheet, *pictures])
    assert (np.asarray(Image.open(pictures[2])) == maze.render(specs[2])).all()


def test_show_renders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks, folder = str(tmp_path / "tasks.jsonl"), tmp_path / "pictures"
    assert main(["generate", "random-mazes", "--family", "maze", "-n", "5", "-o", tasks, "family.size=4"]) == 0
    words = ["show", tasks, "--render", str(folder), "--limit", "3"]
    assert main(words) == 0
    assert "contact sheet of 3 tasks" in capsys.readouterr().out
    assert len(list(folder.iterdir())) == 4
    assert main(words) == 4
    assert "--force" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0
    Path(tasks).write_text("")
    assert main([*words, "--force"]) == 4
    assert "no task to draw" in capsys.readouterr().err


def test_frames_are_captioned_with_the_values_that_differ(tmp_path: Path) -> None:
    """Under a picture no number has more than four digits, and what all tasks share is not told."""
    family = build_family("pendulum")
    knob = next(name for name, knob in family.context_space.knobs.items() if not knob.shape)
    low, high = family.context_space.knobs[knob].low, family.context_space.knobs[knob].high
    specs = [family.spec({knob: low + (high - low) * share}) for share in (1 / 3, 1 / 7)]
    names = pictures._varied(specs)
    assert names == [knob]
    assert pictures._values(specs[0], names) == f"\n{knob} {specs[0].context[knob]:.4g}"
    plain = pictures.contact_sheet([("0", family.render(spec)) for spec in specs])
    told = pictures.contact_sheet([("0\na 1\nb 2", family.render(spec)) for spec in specs])
    assert told.height == plain.height + 2 * 15
    assert told.crop((0, plain.height - 12, told.width, told.height)).getcolors() != [((255, 255, 255), 1)]


def test_long_captions_are_cut() -> None:
    from types import SimpleNamespace

    spec = SimpleNamespace(context={f"knob_{number}": number / 3 for number in range(40)})
    lines = pictures._values(spec, list(spec.context)).splitlines()[1:]
    assert len(lines) == 4
    assert max(map(len, lines)) <= 36
    assert lines[-1].endswith("...")
