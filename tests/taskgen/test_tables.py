"""Tasks from CSV and JSON tables."""

import json
from pathlib import Path

import pytest

import taskgen
from registry.cli import main
from registry.errors import TaskError
from taskgen.tables import read_table

BANDIT = taskgen.build_family("bandit", {"arms": 3})


def table(directory: Path, text: str, name: str = "tasks.csv") -> Path:
    (directory / name).write_text(text, encoding="utf-8")
    return directory / name


@pytest.mark.parametrize(
    "text",
    [
        'probabilities,seed\n"[0.1, 0.5, 0.9]",7\n"[0, 1, 0.25]",1\n',
        "probabilities[0],probabilities[2],probabilities[1],seed\n0.1,0.9,0.5,7\n0,.25,1,1\n".replace(",.25", ",0.25"),
        'arms,seed,probabilities\r\n3,7,"[0.1, 0.5, 0.9]"\r\n\r\n3,1,"[0, 1, 0.25]"\r\n',
        '\ufeffprobabilities,seed\n"[0.1, 0.5, 0.9]",7\n"[0, 1, 0.25]",1\n',
    ],
)
def test_every_way_to_write_a_table_in_csv(text: str, tmp_path: Path) -> None:
    specs = list(read_table(table(tmp_path, text), BANDIT))
    assert specs == [
        BANDIT.spec({"probabilities": [0.1, 0.5, 0.9]}, seed=7),
        BANDIT.spec({"probabilities": [0.0, 1.0, 0.25]}, seed=1),
    ]


def test_json_and_what_is_left_out(tmp_path: Path) -> None:
    rows = [{"probabilities": [0.1, 0.5, 0.9]}, {"seed": 9}, {}]
    expected = [BANDIT.spec(rows[0], seed=0), BANDIT.spec(seed=9), BANDIT.spec(seed=2)]
    for content in (rows, {"levels": rows}):
        assert list(read_table(table(tmp_path, json.dumps(content), "a.json"), BANDIT)) == expected
    text = 'probabilities,seed\n"[0.1, 0.5, 0.9]",\n,9\n,\n'
    assert list(read_table(table(tmp_path, text), BANDIT)) == expected
    tabs = "probabilities\tseed\n[0.1, 0.5, 0.9]\t0\n"
    assert list(read_table(table(tmp_path, tabs), BANDIT, "\t")) == expected[:1]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "probabilities\n0.5,1\n", "line 2: 2 values for 1 columns"),
        ("a.csv", "seed,seed\n1,2\n", "line 1: the column 'seed' comes twice"),
        ("a.csv", "seed\n", "there is no task in it"),
        ("a.csv", "probability[0]\n0.5\n", "line 2: unknown context knob 'probability'.*'probabilities'"),
        ("a.csv", "seed\n1\n-2\nx\n", "line 3: .*seed"),
        ("a.csv", "seed\nten\n", "line 2: seed = 'ten'"),
        ("a.csv", "arms\n4\n", "line 2: arms = 4: this family is set to 3"),
        ("a.csv", "probabilities[0],probabilities[2]\n0.1,0.2\n", r"expected probabilities\[0\] to probabilities\[2\]"),
        ("a.csv", "probabilities[0]\nNaN\n", r"line 2: probabilities"),
        ("a.csv", '"seed\n1\n', "line"),
        ("a.json", "[{}, 3]", "number 1: expected an object of knobs, not 3"),
        ("a.json", '[{"seed": NaN}]', "not valid JSON: NaN is no number"),
        ("a.json", "7", "expected a list of objects"),
        ("a.json", '[{"probabilities": [0, 0, 2]}]', r"number 0: probabilities\[2\] = 2.*0 to 1"),
        ("a.txt", "", "expected a file that ends in .csv or .json"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(name: str, text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=words) as told:
        list(read_table(table(tmp_path, text, name), BANDIT))
    assert name in str(told.value)


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = table(tmp_path, "probabilities[0];probabilities[1]\n0.25;0.75\n1;0\n")
    output = tmp_path / "tasks.jsonl"
    line = ["import", str(source), "--family", "bandit", "-o", str(output), "--delimiter", ";", "family.arms=2"]
    assert main(line) == 0
    assert "2 tasks of builtin/bandit" in capsys.readouterr().out
    assert taskgen.load_tasks(output)[1].context["probabilities"] == (1.0, 0.0)
    assert main(line) == 4  # it is there
    assert main([*line, "--force"]) == 0
    assert main([*line, "--force", "arms=2"]) == 2
    assert "family.KEY=VALUE" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "none.csv"), "--family", "bandit", "-o", str(output), "--force"]) == 4
    assert "cannot be read: No such file" in capsys.readouterr().err
