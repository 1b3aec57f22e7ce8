"""`diayn`: skills learned once, tasks that refer to the discriminator by hash, a collapse that is said."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import pytest
import torch

import registry
from plugins.generators import diayn
from plugins.generators.diayn import DiaynConfig, learn_skills
from registry.config import Part
from registry.errors import TaskError
from taskgen import artefacts
from taskgen.build import build_family, build_source
from taskgen.interaction.agent import Relabels
from taskgen.source import TaskSource
from taskgen.streams import seed_sequence

TINY = {"iterations": 2, "slots": 12, "skills": 3, "hidden": [8], "least_accuracy": 1e-9}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path))
    monkeypatch.setattr(artefacts, "_known", {})
    artefacts.load.cache_clear()
    torch.set_num_threads(1)
    return tmp_path


def source(name: str = "test", **settings: object) -> TaskSource:
    part = Part.model_validate({"name": "diayn", **TINY, **settings})
    return build_source(part, build_family("point-navigation", {"horizon": 5}), seed_sequence(0, name))


def test_skills_are_learned_once_for_the_same_settings(store: Path) -> None:
    specs = source().ask(6)
    names = {artefacts.referred(spec) for spec in specs}
    assert len(names) == 1
    assert {artefacts.referred(spec) for spec in source("held-out").ask(3)} == names
    assert len(list(store.glob("*.safetensors"))) == 1
    source(learning_seed=1).ask(1)
    assert len(list(store.glob("*.safetensors"))) == 2


def test_learning_is_the_same_the_second_time(store: Path) -> None:
    first = artefacts.referred(source().ask(1)[0])
    next(store.glob("*.safetensors")).unlink()
    artefacts.load.cache_clear()
    assert artefacts.referred(source().ask(1)[0]) == first


def test_tasks_fit_the_family_and_nothing_else() -> None:
    family = build_family("point-navigation", {"horizon": 5})
    spec = source().ask(1)[0]
    family.check(spec)
    with pytest.raises(TaskError, match="was learned on the observation space"):
        build_family("half-cheetah").spec(reward=spec.reward)
    with pytest.raises(TaskError, match="has skills 0 to 2"):
        family.spec(reward=type(spec.reward)("learned-discriminator", {**spec.reward.settings, "skill": 3}))  # type: ignore[union-attr, misc, arg-type]


def test_a_discriminator_that_is_there_is_used() -> None:
    name = artefacts.referred(source().ask(1)[0])
    again = source(artefact=name, iterations=10_000)
    specs = again.ask(40)
    assert {artefacts.referred(spec) for spec in specs} == {name}
    assert {spec.reward.settings["skill"] for spec in specs if spec.reward is not None} == {0, 1, 2}
    with pytest.raises(TaskError, match="missing"):
        source(artefact="0" * 64)


def test_a_resumed_source_does_not_learn_again(store: Path) -> None:
    first = source()
    first.ask(1)
    state = first.state_dict()
    resumed = source(iterations=10_000)
    resumed.load_state_dict(state)
    assert resumed.ask(3) == first.ask(3)
    next(store.glob("*.safetensors")).unlink()
    artefacts.load.cache_clear()
    with pytest.raises(TaskError, match="missing"):
        source().load_state_dict(state)


def test_a_collapse_is_said_with_the_accuracy(store: Path) -> None:
    with pytest.raises(TaskError, match=r"collapsed.*of held-out episodes \(chance 33\.3%, least_accuracy 100\.0%\)"):
        source(least_accuracy=1.0).ask(1)
    assert not list(store.glob("*.safetensors"))


@pytest.mark.parametrize("agent", ["rl2", "maesn", "prediction-gain"])
def test_an_agent_that_cannot_see_the_skill_where_it_plays_is_refused(agent: str) -> None:
    """Some see it while they learn, and never when they are judged."""
    with pytest.raises(TaskError, match=f"builtin/{agent} does not look at the descriptor"):
        source(agent=agent).ask(1)


@pytest.mark.slow
def test_skills_of_a_point_can_be_told_apart() -> None:
    family = build_family("point-navigation", {"goals": "half-circle"})
    part = Part.model_validate({"name": "diayn", "iterations": 60})
    spec = build_source(part, family, seed_sequence(0, "test")).ask(1)[0]
    assert float(artefacts.load(str(artefacts.referred(spec))).metadata["accuracy"]) >= 0.9
    assert registry.catalogue().get("rewards", spec.reward.name)  # type: ignore[union-attr]


class _Watched:
    """A batch that keeps the states of the first phase of learning, random play, but for those beyond an end."""

    def __init__(self, batch: Any) -> None:
        self._batch, self.phase, self.seen = batch, 0, list[torch.Tensor]()
        self.playing = torch.ones(batch.slots, dtype=torch.bool)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def set_tasks(self, *arguments: Any) -> None:
        self.phase += 1
        self._batch.set_tasks(*arguments)

    def reset(self, where: torch.Tensor | None = None, seeds: Any = None) -> torch.Tensor:
        self.playing = torch.ones_like(self.playing) if where is None else self.playing | where
        return self._batch.reset(where, seeds)

    def step(self, action: torch.Tensor) -> Any:
        outcome = self._batch.step(action)
        if self.phase == 1:
            self.seen.append(outcome.observation[self.playing].clone())
        self.playing &= ~(outcome.terminated | outcome.truncated)
        return outcome


@pytest.mark.parametrize(
    ("name", "settings", "spread"),
    [
        ("cartpole", {}, [0.087, 0.55, 0.103, 0.85]),  # of Gymnasium's CartPole-v1 under random play
        ("hopper", {"horizon": 60}, None),
    ],
)
def test_the_discriminator_is_scaled_by_states_of_episodes_alone(
    name: str, settings: dict[str, Any], spread: list[float] | None
) -> None:
    """Nothing that a slot shows once its episode has ended counts."""
    family = build_family(name, settings)
    made, watched = family.batch, list[_Watched]()

    def batch(slots: int, device: Any = "cpu") -> Any:
        watched.append(_Watched(made(slots, device)))
        return watched[-1]

    family.batch = batch  # type: ignore[method-assign]
    config = DiaynConfig(iterations=1, slots=40, skills=2, hidden=(4,), epochs=1)
    discriminator = learn_skills(config, family, family.spec()).batch.discriminator
    states = torch.cat(watched[0].seen).double()
    assert torch.allclose(discriminator.shift, states.mean(0), atol=1e-9)
    assert torch.allclose(discriminator.scale, states.std(0), rtol=1e-9)
    assert len(states) == 40 * family.horizon  # an episode that ends makes room for another
    if spread is not None:
        assert discriminator.scale.tolist() == pytest.approx(spread, rel=0.15)


def test_an_off_policy_agent_is_paid_by_the_discriminator_of_today() -> None:
    family = build_family("point-navigation", {"horizon": 5})
    agent = Part.model_validate({"name": "sac", "hidden": [8]})
    config = DiaynConfig(iterations=2, slots=6, skills=3, hidden=(8,), agent=agent)
    skills = learn_skills(config, family, family.spec())
    assert isinstance(skills.agent, Relabels)
    skills.batch.skill = torch.tensor([0, 1, 2, 0, 1, 2])
    rollout = skills.play("again").rollout
    row = rollout.next_observation[0]
    reward_of = skills.agent.reward_of
    assert reward_of is not None
    paid = reward_of(rollout.observation[0], rollout.action[0], row, skills.batch.descriptor())
    assert torch.equal(paid, rollout.reward[0])
    with torch.no_grad():
        skills.batch.discriminator.layers[-1].bias[0] += 1.0
    assert not torch.equal(reward_of(row, rollout.action[0], row, skills.batch.descriptor()), paid)


def batch_of_skills(bias: list[float], slots: int, **settings: Any) -> Any:
    """A batch paid by a discriminator of the logits `bias` + (x, 0, 0, ...), x the standardised first feature."""
    family = build_family("point-navigation", {"horizon": 5})
    config = DiaynConfig(skills=len(bias), hidden=(), **settings)
    batch = diayn._SkillBatch(family.batch(slots), config, family.spec())
    with torch.no_grad():
        batch.discriminator.layers[-1].weight.zero_()
        batch.discriminator.layers[-1].weight[0, 0] = 1.0
        batch.discriminator.layers[-1].bias.copy_(torch.tensor(bias))
    return batch


def test_a_skill_is_paid_the_log_posterior_less_the_log_prior() -> None:
    batch = batch_of_skills([math.log(share) for share in (1.0, 2.0, 3.0, 4.0)], 4)
    batch.discriminator.shift, batch.discriminator.scale = torch.tensor([3.0, 0.0]), torch.tensor([2.0, 1.0])
    here, there = torch.tensor([[3.0, 9.0]]), torch.tensor([[3.0 + 2.0 * math.log(5.0), 9.0]])
    skill = torch.eye(4)
    elsewhere = torch.full((4, 2), 7.0)  # only where the step leads to counts
    # D = 1, 2, 3, 4 of 10, of which a quarter is the prior; there the first has 5 times the weight: 5, 2, 3, 4 of 14
    paid = batch.pay(elsewhere, elsewhere, here.expand(4, -1), skill)
    assert paid.tolist() == pytest.approx([math.log(0.4), math.log(0.8), math.log(1.2), math.log(1.6)], abs=1e-6)
    paid = batch.pay(elsewhere, elsewhere, there.expand(4, -1), skill)
    assert paid.tolist() == pytest.approx([math.log(4 * share / 14) for share in (5, 2, 3, 4)], abs=1e-6)


def test_features_are_standardised_by_mean_and_spread() -> None:
    discriminator = batch_of_skills([0.0, 0.0], 1).discriminator
    discriminator.standardise(torch.tensor([[1.0, 4.0], [3.0, 4.0], [5.0, 4.0]]))
    assert discriminator.shift.tolist() == [3.0, 4.0]
    assert discriminator.scale.tolist() == [2.0, 1e-6]  # what never changes is not divided by 0
    assert discriminator.features(torch.tensor([[7.0, 4.0]])).tolist() == [[2.0, 0.0]]


def test_the_accuracy_is_that_of_last_states() -> None:
    """Episodes of 2, 1 and 3 steps in slots of the skills 0, 1, 0; the first feature above 0 tells skill 0."""
    batch = batch_of_skills([0.0, 0.0], 3)
    valid = torch.tensor([[True, True, True], [True, False, True], [False, False, True]])
    first = torch.tensor([[-1.0, -1.0, 1.0], [1.0, 1.0, 1.0], [-1.0, 1.0, -1.0]])
    states = torch.stack([first, torch.zeros_like(first)], dim=2)
    batch.discriminator.shift = torch.zeros(2)
    rollout = SimpleNamespace(valid=valid, next_observation=states)
    skills = diayn.Skills(None, batch)  # type: ignore[arg-type]
    object.__setattr__(skills, "play", lambda turn: SimpleNamespace(rollout=rollout))
    assert skills.accuracy() == pytest.approx(2 / 3)  # 1 and -1 are told, -1 of the last slot is not
    batch.skill = torch.tensor([1, 0, 1])
    seen, shown = diayn._states(batch, SimpleNamespace(rollout=rollout))  # type: ignore[arg-type]
    assert seen[:, 0].tolist() == [-1.0, -1.0, 1.0, 1.0, 1.0, -1.0]
    assert shown.tolist() == [1, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(("accuracy", "least", "good"), [(0.5, 0.0, True), (0.49, 0.0, False), (0.49, 0.48, True)])
def test_what_is_left_out_asks_for_twice_the_chance(
    accuracy: float, least: float, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 skills one in four is told by chance."""
    batch = batch_of_skills([0.0] * 4, 1)
    learned = SimpleNamespace(accuracy=lambda: accuracy, batch=batch)
    monkeypatch.setattr(diayn, "learn_skills", lambda *_: learned)
    config = DiaynConfig(skills=4, least_accuracy=least)
    if good:
        artefact = diayn._learned(config, batch.family, batch.task, "recipe")
        assert artefact.metadata["accuracy"] == f"{accuracy:.4f}"
        return
    with pytest.raises(TaskError, match=r"chance 25.0%, least_accuracy 50.0%"):
        diayn._learned(config, batch.family, batch.task, "recipe")


def test_random_actions_fill_the_action_space(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of_skills([0.0, 0.0], 200)
    acted: list[torch.Tensor] = []
    step = batch.step
    monkeypatch.setattr(batch, "step", lambda action: (acted.append(action), step(action))[1])
    batch.family.action_space = gym.spaces.Box(-0.5, 2.5, (2,))
    diayn._random_states(batch, torch.Generator().manual_seed(0))
    actions = torch.stack(acted)
    assert actions.shape == (5, 200, 2)
    assert -0.5 <= float(actions.min()) < -0.49
    assert 2.49 < float(actions.max()) <= 2.5
    assert float(actions.mean()) == pytest.approx(1.0, abs=0.08)  # 4 standard errors of 3 / sqrt(12 * 2000)
