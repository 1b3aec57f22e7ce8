"""`taskgen play`: films and transcripts of one trial, by catalogue agents and by runs."""

import re

import numpy as np
import pytest
from PIL import Image

from agents.reports.film import film
from registry.cli import main
from taskgen.build import build_family
from tests.agents.training.test_loop import QUICK


def run(capsys, *words):
    capsys.readouterr()
    code = main(["play", *map(str, words)])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


@pytest.fixture
def mazes(tmp_path):
    path = tmp_path / "mazes.jsonl"
    words = ["named-mazes", "--family", "maze", "-n", "2", "-o", path, 'names=["maze","sixteen-rooms"]']
    assert main(["generate", *map(str, words)]) == 0
    return path


@pytest.fixture
def bandits(tmp_path):
    path = tmp_path / "bandits.jsonl"
    assert main(["generate", "domain-randomization", "--family", "bandit", "-n", "3", "-o", str(path)]) == 0
    return path


def test_a_film_has_a_frame_for_every_step(mazes, tmp_path, capsys):
    output = tmp_path / "film.gif"
    code, out, _ = run(capsys, mazes, "--index", "1", "--agent", "maze-oracle", "-o", output, "--fps", "10")
    assert code == 0
    assert "1 episode, 26 steps" in out
    picture = Image.open(output)
    assert picture.n_frames == 27
    assert picture.info["duration"] == 100
    first = np.asarray(picture.convert("RGB"))
    picture.seek(26)
    last = np.asarray(picture.convert("RGB"))
    assert picture.info["duration"] == 1200
    assert first.shape == last.shape
    assert (first[:20] != last[:20]).any()  # the caption
    assert (first[20:] != last[20:]).any()


def test_a_film_is_the_trial():
    family = build_family("maze", {"size": 3, "horizon": 6})
    watched = film(family.spec(), "maze-oracle", episodes=2)
    assert [moment.step for moment in watched.moments] == [*range(6), *range(6)]
    assert [moment.episode for moment in watched.moments] == [1] * 6 + [2] * 6
    assert [moment.ending for moment in watched.moments].count("terminated") == 2
    assert watched.moments[5].total == pytest.approx(1 - 0.9 * 5 / 6)
    assert (watched.moments[0].picture == watched.moments[6].picture).all()
    assert (watched.moments[0].picture != watched.moments[3].picture).any()
    sparse = film(family.spec(), "maze-oracle", every=2)
    assert [moment.picture is not None for moment in sparse.moments] == [True, False, True, False, True, True]
    assert film(family.spec(), "maze-oracle", every=0).moments[0].picture is None


def test_a_transcript_says_what_happened(bandits, tmp_path, capsys):
    output = tmp_path / "new" / "play.txt"
    code, out, _ = run(capsys, bandits, "--agent", "bandit-oracle", "--episodes", "4", "-o", output)
    assert code == 0
    assert "4 episodes, 4 steps" in out
    text = output.read_text()
    assert text.startswith("task ")
    assert "arm 4 " in text
    rewards = [float(found) for found in re.findall(r"^ +1  \d +(\d\.\d{3})", text, re.MULTILINE)]
    assert len(rewards) == 4
    assert text.count("truncated after 1 steps") == 4
    assert "episode 4" in text


def test_what_is_refused(bandits, mazes, tmp_path, capsys):
    for words, message in (
        ([bandits, "--agent", "random", "-o", tmp_path / "a.gif"], "draws no frames"),
        ([bandits, "--agent", "random", "-o", tmp_path / "a.mp4"], ".gif for a film or .txt"),
        ([bandits, "--agent", "maze-oracle", "-o", tmp_path / "a.txt"], "needs maze"),
        ([bandits, "--agent", "randon", "-o", tmp_path / "a.txt"], "Did you mean 'random'"),
        ([bandits, "--agent", "random", "--index", "3", "-o", tmp_path / "a.txt"], "holds 3 tasks"),
        ([bandits, "--agent", "random", "-o", mazes.with_suffix(".txt")], "exists"),
    ):
        mazes.with_suffix(".txt").write_text("mine")
        code, _, error = run(capsys, *words)
        assert code != 0
        assert message in error
    assert mazes.with_suffix(".txt").read_text() == "mine"
    assert not list(tmp_path.glob("a.*"))


def test_a_trained_agent_plays_as_it_was_trained(bandits, mazes, tmp_path, capsys):
    trained, output = tmp_path / "run", tmp_path / "play.txt"
    assert main(["train", "rl2-bandit", *QUICK, "training.iterations=1", "--run", str(trained)]) == 0
    code, out, error = run(capsys, bandits, "--agent", trained, "-o", output)
    assert (code, error) == (0, "")
    assert "3 episodes" in out
    code, _, error = run(capsys, mazes, "--agent", trained, "-o", tmp_path / "no.txt")
    assert code == 2
    assert "plays other tasks" in error


def test_whoever_has_learned_nothing_is_called_so(bandits, tmp_path, capsys):
    for agent, called in (("rl2", "rl2, untrained"), ("builtin/random", "builtin/random"), ("greedy", "greedy")):
        code, out, _ = run(capsys, bandits, "--agent", agent, "-o", tmp_path / "it.txt", "--force")
        assert code == 0
        assert f" played by {called}, 1 episode" in out
        assert f"player {called}\n" in (tmp_path / "it.txt").read_text()
