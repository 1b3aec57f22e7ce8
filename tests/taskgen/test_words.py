"""What the task verbs print and take: one line for one cause, sensible digits, settings as the pages print them."""

import json
from pathlib import Path

import pytest

import taskgen
from registry.cli import main
from registry.errors import TaskError
from taskgen.space import readable


def test_values_have_four_digits() -> None:
    assert readable(1 / 3) == "0.3333"
    assert readable((2.0, 1e-7, 123456.0, 7)) == "[2, 1e-07, 1.235e+05, 7]"
    assert readable({"a": (0.1 + 0.2, True), "b": "x"}) == "{a: [0.3, True], b: x}"
    family = taskgen.build_family("bandit", {"arms": 2})
    text = str(taskgen.TaskFamily.render(family, family.spec({"probabilities": [1 / 3, 2 / 3]})))
    assert text.splitlines()[-1] == "probabilities = [0.3333, 0.6667]"


def test_equal_reasons_are_one_line(tmp_path: Path) -> None:
    """The id of a task is no reason of its own; a line by itself keeps it."""
    family = taskgen.build_family("bandit")
    lines = [family.spec(seed=seed).to_json() for seed in range(5)]
    strange = []
    for line in lines:
        task = json.loads(line) | {"family": "nobody/bandit"}
        strange.append(json.dumps({name: value for name, value in task.items() if name != "id"}))
    file = tmp_path / "tasks.jsonl"
    file.write_text("\n".join([*strange, lines[0]]) + "\n")
    with pytest.raises(TaskError) as caught:
        taskgen.load_tasks(file)
    title, *reasons = str(caught.value).splitlines()
    assert title.endswith("5 of 6 lines are broken")
    (reason,) = reasons
    assert reason.startswith("  lines 1, 2, 3 and 2 more: the task: 'nobody/bandit' is not among the families")
    file.write_text(strange[0] + "\n")
    with pytest.raises(TaskError, match=r"line 1: task [0-9a-f]{16}: 'nobody/bandit'"):
        taskgen.load_tasks(file)


def test_settings_that_are_no_numbers_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    specs = [
        taskgen.build_family("point-navigation", {"goals": goals}).spec(seed=seed)
        for seed, goals in enumerate(("half-circle", "half-circle", "square"))
    ]
    file = tmp_path / "tasks.jsonl"
    taskgen.TaskSet(tuple(specs)).write(file)
    assert main(["show", str(file), "--first", "0"]) == 0
    out = capsys.readouterr().out
    assert "no numbers" not in out
    assert "half-circle in 2, square in 1" in out


@pytest.mark.parametrize(
    "text",
    [
        '[vary.probabilities]\nkind = "uniform"\nlow = 0.25\nhigh = 0.5\n[family]\narms = 3\n',
        """
[source]
name = "domain-randomization"
vary.probabilities = { kind = "uniform", low = 0.25, high = 0.5 }
[family]
name = "bandit"
arms = 3
[training]
iterations = 5
""",
    ],
)
def test_settings_from_the_inside_and_from_the_outside(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    file = tmp_path / "tasks.jsonl"
    line = ["generate", "domain-randomization", "-f", "bandit", "-n", "20", "-o", str(file)]
    assert main([*line, "--settings", str(tmp_path / "settings.toml")]) == 0
    values = [value for spec in taskgen.load_tasks(file) for value in spec.context["probabilities"]]
    assert len(values) == 60
    assert 0.25 <= min(values) < 0.3
    assert 0.45 < max(values) <= 0.5
