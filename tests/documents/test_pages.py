"""Pages that are worked through from top to bottom: every file is saved, all Python and every command run."""

import os
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from registry.cli import main
from registry.discovery import FILES_VARIABLE

DOCS = Path(__file__).parents[2] / "docs"
ABSENT = "Meta-World pins an older MuJoCo: tests/documents/test_own_environments.py has it in an environment of its own"
PAGES = (
    *("bring-your-environment", "python", "first-experiment", "run-directory", "keep-your-learner"),
    *(pytest.param(page, marks=pytest.mark.slow) for page in ("many-runs", "examples")),
    pytest.param("meta-world", marks=[pytest.mark.slow, pytest.mark.skipif(not find_spec("metaworld"), reason=ABSENT)]),
)
SMALL = (
    *("training.iterations=2", "training.tasks=8", "training.episodes=2", "training.evaluate_every=1"),
    *("evaluation.tasks=8", "evaluation.final_tasks=8", "evaluation.tail=0"),
)
"""What is said last to every training; its budget first, where the page gives none."""
NEEDS = {"maml-navigation": ("training.episodes=40",)}
"""What an experiment cannot do without, said after `SMALL`."""
LEAST = {"many-runs": 8, "examples": 17}
"""Of a page without Python, how many commands it has at least."""
_BLOCK = re.compile(r"((?:[^\n]+\n)*)\n?```(\w*)\n(.*?)```", re.DOTALL)


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """(file to save it as, language, text) of every block of a page."""
    for before, language, text in _BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8")):
        saved = re.search(r"Save this as `([\w.]+)`", before)
        yield saved.group(1) if saved else "", language, text


@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_from_top_to_bottom(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import agents.api

    whole = agents.api.train
    monkeypatch.setattr(agents.api, "train", lambda name, *rest, **how: whole(name, *rest, *SMALL, **how))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    commands = pieces = 0
    for saved, language, text in blocks(page):
        if saved:
            Path(saved).write_text(text)
        elif language == "python":
            pieces += 1
            exec(compile(text, f"{page}.md", "exec"), names)
        elif not language:
            for line in text.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["taskgen"]:
                    commands += 1
                    words = ["0-1" if word == "0-4" else word for word in words]  # of as many seeds as show it
                    place = words[words.index("--run") + 1] if "--run" in words else ""
                    again = Path("runs/bandit").exists() and place == "runs/bandit"
                    where = ["--run", f"runs/{commands}"] if again else []  # the page shows the command twice
                    budget = any(word.startswith(("training.steps=", "training.minutes=")) for word in words)
                    small = SMALL[budget:] if set(words) & {"train", "plan", "sweep"} else ()
                    needs = NEEDS.get(words[2], ()) if small else ()
                    assert main([*words[1:], *where, *small, *needs]) == 0, f"{line}\n{capsys.readouterr().err}"
    assert commands + pieces >= LEAST.get(page, 4)
    assert pieces >= 1 or page in LEAST
    files = {Path(name).stem for name in os.environ.get(FILES_VARIABLE, "").split(os.pathsep) if name}
    for stem in files:
        sys.modules.pop(stem, None)  # another page may have a plugin of the name


def test_what_pandas_is_told_to_read_is_there(tmp_path: Path) -> None:
    """pandas is no dependency: the form it is told of is."""
    text = (DOCS / "run-directory.md").read_text(encoding="utf-8")
    assert 'pd.read_json("runs/bandit/metrics.jsonl", lines=True)' in text
    from plugins.trackers.jsonl import JsonLines, JsonLinesConfig

    log = JsonLines(JsonLinesConfig(), directory=tmp_path)
    log.log(1, {"charts/steps": 10, "meta/trial_return": float("nan")})
    log.close()
    assert re.fullmatch(
        r'\{"step": 1, "time": [\d.]+, "metrics": \{"charts/steps": 10.0, "meta/trial_return": null\}.*\}\n',
        (tmp_path / "metrics.jsonl").read_text(),
    )
