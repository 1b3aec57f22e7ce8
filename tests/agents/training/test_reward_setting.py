"""`reward=` of an experiment and of `taskgen generate`: what all tasks pay, wherever they come from."""

import json
from pathlib import Path

import pytest

from agents.training.experiment import build_parts, load_experiment
from registry.cli import main
from registry.config import Part
from registry.errors import ConfigError, TaskError
from taskgen.build import build_family, family_of
from taskgen.spec import RewardSpec

GOAL = {"goal": [0.5, 0.5], "features": [0, 1], "reach": 2.0}
SMALL = (
    *("family=point-navigation", "training.tasks=4", "training.episodes=2"),
    *("evaluation.final_tasks=4", "evaluation.players=[]"),
)

ADR = '{name="adr", widen_above=1.0, narrow_below=0.0}'


def parts(*overrides: str):
    return build_parts(load_experiment("rl2-bandit", ["agent=ppo", *SMALL, *overrides]).config)


@pytest.mark.parametrize(
    "source", ["domain-randomization", '{name="plr", score="gae"}', '{name="accel", score="gae"}', ADR]
)
def test_all_tasks_of_training_and_evaluation_are_paid_by_it(source: str) -> None:
    said = ("reward.name=goal-proximity", *(f"reward.{key}={value}" for key, value in GOAL.items()))
    built = parts(*said, f"source={source}")
    expected = RewardSpec("builtin/goal-proximity", {"goal": (0.5, 0.5), "features": (0, 1), "reach": 2.0})
    for spec in [*built.source.ask(3), *built.held_out.specs[:3]]:
        assert spec.reward == expected
        family_of(spec).check(spec)  # a task says all of it
    moved = built.family.moved(spec, {**spec.context})
    assert moved.reward == expected


def test_a_table_of_a_file_says_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'family = "point-navigation"\nagent = "ppo"\n'
        '[reward]\nname = "goal-proximity"\ngoal = [0.5, 0.5]\nreach = 3.0\n'
    )
    config = load_experiment(str(file)).config
    assert config.reward is not None
    assert (config.reward.name, config.reward.settings["reach"]) == ("builtin/goal-proximity", 3.0)
    with pytest.raises(TaskError, match="goal is not said: give reward.goal"):  # no place would do for all tasks
        build_parts(load_experiment("ppo-navigation", ["reward=goal-proximity"]).config)
    with pytest.raises(ConfigError, match="reward.reech: unknown key. Did you mean 'reach'"):
        load_experiment(str(file), ["reward.reech=3"])
    with pytest.raises(ConfigError, match="reward: 'goal-proximty' is not among the rewards. Did you mean"):
        load_experiment(str(file), ["reward=goal-proximty"])


def test_a_source_that_names_rewards_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="reward = builtin/random-discriminator: tasks of builtin/dense-rewards name"):
        parts("reward=random-discriminator", "source=dense-rewards")
    plain = build_family("bandit").spec()
    with pytest.raises(TaskError, match=f"task {plain.id} is paid by its family, while the reward asked for is"):
        build_family("bandit", reward=Part(name="random-discriminator")).check(plain)
    with pytest.raises(TaskError, match="features: 1 is no entry"):  # a reward that does not fit the family
        build_family("bandit", reward=Part.model_validate({"name": "goal-proximity", **GOAL}))


def test_generate_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tasks.jsonl"
    line = ["generate", "domain-randomization", "-f", "bandit", "-n", "3", "-o", str(file)]
    assert main([*line, "reward=random-discriminator", "reward.skill=3"]) == 0
    rewards = [json.loads(text)["reward"] for text in file.read_text().splitlines()]
    assert [(reward["name"], reward["settings"]["skill"]) for reward in rewards] == [
        ("builtin/random-discriminator", 3)
    ] * 3
    assert main([*line, "--force", "reward.skill=3"]) == 2
    assert "reward" in capsys.readouterr().err
    random = ["generate", "random-rewards", "-f", "bandit", "-n", "3", "-o", str(tmp_path / "no.jsonl")]
    assert main([*random, "reward=random-discriminator"]) == 4
    assert "tasks of random-rewards name their rewards themselves" in capsys.readouterr().err
    assert not (tmp_path / "no.jsonl").exists()
