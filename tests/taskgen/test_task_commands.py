"""The task verbs as a person types them: what they print, what they refuse, what they leave on disk."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from registry.cli import main
from taskgen.progress import track
from taskgen.taskset import TaskSet, check_disjoint


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    words = ["generate", "domain-randomization", "--family", "bandit", "-n", "50", "--seed", "3", "-o", str(path)]
    assert main([*words, "family.arms=3", "vary.probabilities.high=0.5"]) == 0
    return path


def test_generate_applies_the_settings(tasks: Path) -> None:
    specs = TaskSet.read(tasks)
    assert len({spec.id for spec in specs}) == 50
    assert {spec.context["arms"] for spec in specs} == {3}
    values = [value for spec in specs for value in spec.context["probabilities"]]  # type: ignore[union-attr]
    assert 0.4 < max(values) <= 0.5
    assert min(values) < 0.1


def test_the_same_seed_gives_the_same_file(tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["generate", "domain-randomization", "-f", "bandit", "family.arms=3", "vary.probabilities.high=0.5"]
    run(capsys, *base, "-n", "50", "--seed", "3", "-o", tmp_path / "again.jsonl")
    run(capsys, *base, "-n", "50", "--seed", "4", "-o", tmp_path / "other.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == tasks.read_bytes()
    assert (tmp_path / "other.jsonl").read_bytes() != tasks.read_bytes()


def test_generate_does_not_overwrite(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tasks.read_bytes()
    words = ("generate", "domain-randomization", "--family", "bandit", "-n", "1", "-o", tasks)
    code, _, error = run(capsys, *words)
    assert code == 4
    assert f"{tasks} exists" in error
    assert "--force" in error
    assert tasks.read_bytes() == before
    assert run(capsys, *words, "--force")[0] == 0
    assert len(TaskSet.read(tasks)) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["domain-randomisation", "-f", "bandit"], "Did you mean 'domain-randomization'?"),
        (["domain-randomization", "-f", "bandits"], "Did you mean 'bandit'"),
        (["domain-randomization", "-f", "bandit", "family.arms=0"], "arms = 0"),
        (["domain-randomization", "-f", "bandit", "family.army=3"], "Did you mean 'arms'?"),
        (["domain-randomization", "-f", "bandit", "family=bandit"], "name the family with --family"),
        (["domain-randomization", "-f", "bandit", "vari.x=1"], "Did you mean 'vary'?"),
        (["domain-randomization", "-f", "bandit", "vary.probability=1"], "Did you mean 'probabilities'?"),
        (
            ["domain-randomization", "-f", "bandit", "arms=3"],
            "arms: no setting of domain-randomization. Did you mean 'family.arms'",
        ),
        (
            ["domain-randomization", "-f", "bandit", "vary.probabilities.hihg=1"],
            "vary.probabilities.hihg: unknown key. Did you mean 'high'?",
        ),
        (
            ["domain-randomization", "-f", "bandit", 'vary.probabilities={kind="unifrom"}'],
            "vary.probabilities.kind = 'unifrom': is none. Did you mean 'uniform'",
        ),
        (["domain-randomization", "-f", "bandit", "vary.probabilities.high=2"], "allowed range is 0 to 1"),
        (["domain-randomization", "-f", "bandit", "vary.probabilities.high=nan"], "vary.probabilities"),
        (["domain-randomization", "-f", "bandit", "nonsense"], "expected key=value"),
        (["domain-randomization", "-f", "bandit", "name=x"], "the generator is the first argument"),
        (["task-set", "-f", "bandit"], "name the task file"),
        (["task-set", "-f", "bandit", "path=missing.jsonl"], "missing.jsonl: cannot be read"),
    ],
)
def test_generate_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    code, _, error = run(capsys, "generate", *words, "-n", "2", "-o", tmp_path / "new.jsonl")
    assert code != 0
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_generate_from_a_task_set(tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "task-set", "-f", "bandit", "family.arms=3", f"path={tasks}", "shuffle=false"]
    assert run(capsys, *words, "-n", "60", "-o", tmp_path / "again.jsonl")[0] == 0
    specs = list(TaskSet.read(tasks))
    assert list(TaskSet.read(tmp_path / "again.jsonl")) == [*specs, *specs[:10]]
    assert "10 repeat an earlier one" in run(capsys, "validate", tmp_path / "again.jsonl")[1]


def test_show(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", tasks, "--first", "2")
    assert code == 0
    assert "50 tasks (50 of builtin/bandit)" in out
    assert "always 3" in out
    values = [value for spec in TaskSet.read(tasks) for value in spec.context["probabilities"]]  # type: ignore[union-attr]
    line = next(line for line in out.splitlines() if line.startswith("  probabilities"))
    for number in (min(values), max(values), sum(values) / len(values)):
        assert f"{number:.4g}" in line
    assert out.count("\ntask ") == 2
    assert f"task {TaskSet.read(tasks)[1].id}" in out


def test_show_draws_where_the_values_lie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.jsonl"
    run(
        capsys,
        "generate",
        "domain-randomization",
        "-f",
        "bandit",
        "-o",
        path,
        'vary.probabilities={kind="choice",values=[0.25,0.75],weights=[1,7]}',
    )
    out = run(capsys, "show", path)[1]
    chart = next(line for line in out.splitlines() if line.startswith("  probabilities")).split("|")[1]
    assert len(chart) == 24
    assert chart[1:-1].strip() == ""
    assert chart[0] == "▂"  # an eighth or so of the tasks, against the full column at the other end
    assert chart[-1] == "█"


def test_validate(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "validate", tasks)
    assert code == 0
    assert "every line is valid" in out


@pytest.mark.parametrize("verb", ["validate", "show", "split"])
def test_a_broken_file(tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    lines = tasks.read_text().splitlines(keepends=True)
    lines[6] = lines[6].replace('"probabilities":[0', '"probabilities":[7')
    lines[8] = "{\n"
    tasks.write_text("".join(lines))
    extra = ["-o", tmp_path / "new"] if verb == "split" else []
    code, out, error = run(capsys, verb, tasks, *extra)
    assert code == 4
    assert out == ""
    assert "2 of 50 lines are broken" in error
    assert "line 7: " in error
    assert "line 9: not valid JSON" in error
    assert [item.name for item in tmp_path.iterdir()] == ["tasks.jsonl"]


def test_split_keeps_lines_as_they_are_and_counts_equal_ones(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also without an id, in another order; a task that comes twice goes the same way twice."""
    lines = tasks.read_text().splitlines()
    first = {name: value for name, value in reversed(json.loads(lines[0]).items()) if name != "id"}
    lines[0] = f"  {json.dumps(first)}\r"
    tasks.write_text("\n".join([*lines, lines[0], ""]))
    code, out, _ = run(capsys, "validate", tasks)
    assert (code, out) == (
        0,
        f"{tasks}: 51 tasks (51 of builtin/bandit); 1 repeat an earlier one; every line is valid\n",
    )
    assert run(capsys, "split", tasks, "-o", tmp_path / "sides")[0] == 0
    sides = [(tmp_path / "sides" / name).read_text().splitlines() for name in ("train.jsonl", "held-out.jsonl")]
    assert sorted(sides[0] + sides[1]) == sorted(line.strip() for line in [*lines, lines[0]])
    assert sorted(side.count(lines[0].strip()) for side in sides) == [0, 2]


def test_split(tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "split", tasks, "--held-out", "0.3", "-o", tmp_path / "new")
    assert code == 0
    train, held_out = (TaskSet.read(tmp_path / "new" / f"{name}.jsonl") for name in ("train", "held-out"))
    check_disjoint(train, held_out)
    assert {spec.id for spec in (*train, *held_out)} == {spec.id for spec in TaskSet.read(tasks)}
    assert f"{len(train)} tasks" in out
    assert (train, held_out) == TaskSet.read(tasks).split(0.3)
    code, _, error = run(capsys, "split", tasks, "--held-out", "0.5", "-o", tmp_path / "new")
    assert code == 4
    assert "exists" in error
    assert TaskSet.read(tmp_path / "new" / "train.jsonl") == train


@pytest.mark.parametrize(("fraction", "message"), [("1.5", "less than 1"), ("nan", "less than 1"), ("1e-9", "no task")])
def test_split_refuses(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fraction: str, message: str
) -> None:
    code, _, error = run(capsys, "split", tasks, "--held-out", fraction, "-o", tmp_path / "new")
    assert code == 4
    assert message in error
    assert not (tmp_path / "new").exists()


def test_the_verbs_import_nothing_heavy() -> None:
    script = "import sys, taskgen.commands; print(json.dumps([m for m in ('torch', 'numpy', 'gymnasium', 'mujoco') if m in sys.modules]))"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", f"import json; {script}"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_progress_is_plain_lines_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from taskgen import progress

    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    log = io.StringIO()
    assert list(track(range(6), 6, "tasks", stream=log)) == list(range(6))
    # a step takes 4 seconds; a line follows once 10 seconds have passed
    assert log.getvalue().splitlines() == ["3 of 6 tasks, 0/s, 12 s left", "6 of 6 tasks, 0/s, 0 s left"]


def test_progress_is_a_bar_on_a_terminal() -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    assert list(track(iter("abc"), 3, "tasks", stream=terminal)) == ["a", "b", "c"]
    assert "3/3" in terminal.getvalue()
    assert "/s" in terminal.getvalue()


EASY_TO_HARD = """
sources.weak = { name = "domain-randomization", vary = { force = { high = 6.0 } } }
sources.strong = { name = "domain-randomization", vary = { force = { low = 14.0 } } }
points = [
    { iteration = 0, weights = { weak = 1.0 } },
    { iteration = 9, weights = { strong = 1.0 } },
]
"""


def test_generate_runs_a_composition_from_a_file_and_show_draws_its_course(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, path = tmp_path / "schedule.toml", tmp_path / "tasks.jsonl"
    settings.write_text(EASY_TO_HARD)
    words = ["generate", "schedule", "-f", "cartpole", "--settings", settings, "-n", "100", "-o", path]
    code, _, error = run(capsys, *words, "--per-iteration", "10")
    assert code == 0
    assert "schedule decides by results or time: the last of these tasks are what it gives after 9 iterations" in error
    strong = [spec.context["force"] > 10.0 for spec in TaskSet.read(path)]  # type: ignore[operator]
    shares = [sum(strong[start : start + 10]) for start in range(0, 100, 10)]
    assert shares[0] == 0
    assert shares[-1] == 10
    assert shares == sorted(shares)
    out = run(capsys, "show", path, "--first", "0")[1].splitlines()
    force = next(number for number, line in enumerate(out) if line.startswith("  force"))
    chart = out[force + 1].partition("|")[2].partition("|")[0]
    assert "along the file" in out[force + 1]
    assert len(chart) == 24
    assert chart[0] in "▁▂.:"
    assert chart[-1] in "▇█#@"
    assert sum("along the file" in line for line in out) == 1  # the other knobs stay
    assert run(capsys, *words, "--force", "between=constant", "--per-iteration", "10")[0] == 0
    assert not any(spec.context["force"] > 10.0 for spec in TaskSet.read(path)[:90])  # type: ignore[operator]


def test_generate_takes_nested_settings_and_says_that_time_stands_still(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tasks.jsonl"
    words = ["generate", "staged", "-f", "cartpole", "-n", "6", "-o", path]
    nested = ["source.name=within", "source.knobs.force.low=14", "stages=[{iterations=1}, {source={name='mix'}}]"]
    code, _, error = run(capsys, *words, *nested)
    assert code != 0
    assert "weights sum to 0" in error
    code, _, error = run(capsys, *words, *nested[:2], "stages=[{iterations=1}, {episodes=2}]")
    assert code == 0
    assert "at time 0" in error
    assert min(spec.context["force"] for spec in TaskSet.read(path)) >= 14.0  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("points = [", "not valid TOML"),
        ("name = 'mix'", "the generator is the first argument"),
        ("point = 1", "'points'"),
    ],
)
def test_a_faulty_settings_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    settings = tmp_path / "schedule.toml"
    settings.write_text(text)
    code, _, error = run(capsys, "generate", "schedule", "-f", "cartpole", "--settings", settings, "-o", tmp_path / "x")
    assert code != 0
    assert message in error
