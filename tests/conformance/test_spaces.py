"""Every agent, and the player `random`, on a toy family for every kind of space; faces too."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import registry
import taskgen
from agents.testing import check_spaces
from registry.config import Part
from registry.discovery import FILES_VARIABLE
from taskgen.engines.toys import ACTED, OBSERVED, SpaceToy, SpaceToyConfig, unreadable_families
from taskgen.interaction.agent import Action, CollectionPlan
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from tests.emulated.catalogue import quick

CHOICE = {"discrete", "discrete-from-minus-one"}
BOUNDED = {
    "box",
    "asymmetric-box",
    "flat-box",
    "box-of-one-number",
    "box-table",
    "double-box",
    "dict-of-boxes",
}
PLAYED = {
    ("discrete-actions",): CHOICE,
    ("continuous-actions",): BOUNDED,
    ("discrete-actions|continuous-actions",): CHOICE | BOUNDED | {"open-box", "half-open-box"},
}
"""By what an agent needs, where that is less than all, the action spaces it plays. All play all observations."""
REFUSED = {"dream": {"open-box", "half-open-box"}}
"""Of these, by agent, what it refuses: an actor-critic whose actions are squashed needs bounds."""
LEAST = {
    "dqn": {"updates_per_step": 0.01, "hidden": [4]},
    "hyperx": {"encoder_updates": 1},
    "maml": {"conjugate_steps": 1},
    "prediction-gain": {"encoder_updates": 1, "informed_updates": 1, "informed_batch": 8},
    "varibad": {"encoder_updates": 1},
}
"""Settings of some that take long."""


def _fit_any_family(item):
    return all(word.endswith("-actions") for need in item.entry.needs for word in need.split("|"))


AGENTS = [item for item in registry.catalogue().items("agents") if _fit_any_family(item)]


@pytest.mark.parametrize("item", [pytest.param(item, id=item.entry.name) for item in AGENTS])
def test_agents_play_every_space_or_refuse_it_by_name(item):
    settings = {} if "reference" in item.entry.tags else {**quick(item), **LEAST.get(item.entry.name, {})}
    refused = check_spaces(item.full_name, settings, episodes=4)
    played = set(PLAYED.get(item.entry.needs, ACTED)) - REFUSED.get(item.entry.name, set())
    assert set(refused) == {f"toys/acted-{name}" for name in set(ACTED) - played}


class _Wild:
    """Answers with the largest numbers there are."""

    needs_descriptor = False

    def __init__(self, shape):
        self.shape = shape

    def plan(self, episodes):
        return CollectionPlan(1, episodes)

    def begin_trial(self, batch):
        return ()

    def act(self, carry, step):
        self.previous = step.previous_action
        sign = torch.where(step.observation[:, :1] < 0.5, -1.0, 1.0)
        return Action(1e6 * sign.expand(-1, *self.shape)), carry


def test_a_family_is_given_actions_of_its_space_and_the_agent_keeps_its_own():
    family = SpaceToy(SpaceToyConfig(acted="asymmetric-box"))
    agent = _Wild((2,))
    trial = collect(agent, family.batch(8), [family.spec(seed=seed) for seed in range(8)], plan=agent.plan(2))
    rollout = trial.rollout
    expected = torch.where(rollout.observation[..., 0] < 0.5, -0.5, 5.5)  # the corners of [0, 5] x [-0.5, 0.5]
    torch.testing.assert_close(rollout.reward, expected)
    assert set(rollout.action.unique().tolist()) == {-1e6, 1e6}
    assert set(agent.previous.unique().tolist()) == {-1e6, 1e6}


def test_no_trained_return_exceeds_what_can_be_earned():
    """The more is sent the more is paid, so training drives the actions out of the box."""
    family = SpaceToy(SpaceToyConfig(acted="asymmetric-box"))
    problem = problem_of(family, episodes=1, seed=0, device=torch.device("cpu"), updates=20)
    agent = build_agent(Part.model_validate({"name": "rl2", "learning_rate": 0.05}), problem)
    specs = [family.spec(seed=seed) for seed in range(64)]
    batch, plan = family.batch(64), agent.plan(1)
    for _ in range(20):
        trial = collect(agent, batch, specs, plan=plan)
        agent.learn(trial)
    best = 3 * (5.0 + 0.5)
    assert float(trial.rollout.action[..., 0].mean()) > 4.0  # what it was trained to send
    assert float(trial.episode_returns().max()) <= best + 1e-4
    assert float(trial.episode_returns().mean()) > 0.8 * best


@pytest.mark.parametrize("family", [pytest.param(toy, id=toy.name) for toy in unreadable_families()])
@pytest.mark.parametrize("agent", ["rl2", "random"])
def test_what_nobody_reads_is_refused_before_an_agent_is_built(family, agent):
    with pytest.raises(registry.errors.UserError, match=f"{family.name} has the"):
        build_agent(Part(name=agent), problem_of(family, episodes=1, seed=0, device=torch.device("cpu")))


@pytest.fixture
def toys(plugin_environment, monkeypatch, tmp_path):
    """The catalogue also holds "toys/space-toy"."""
    target = "taskgen.engines.toys:SpaceToy"
    (tmp_path / "toys.py").write_text(
        "from registry import Entry, hookimpl\n\n\n@hookimpl\ndef register_task_families():\n"
        f"    return [Entry('space-toy', '{target}', 'A toy.', config='{target}Config')]\n"
    )
    monkeypatch.setenv(FILES_VARIABLE, str(tmp_path / "toys.py"))


SETTINGS = [{"acted": name} for name in ACTED] + [{"observed": name} for name in OBSERVED]


@pytest.mark.usefixtures("toys")
@pytest.mark.filterwarnings("ignore:.*not have the same units|.*A Box|.*For Box action spaces|.*infinity|.*flattened")
@pytest.mark.parametrize("settings", [pytest.param(each, id="-".join(*each.items())) for each in SETTINGS])
def test_faces_speak_gymnasium_whatever_the_space(settings):
    family = taskgen.build_family("toys/space-toy", settings)
    specs = [family.spec(seed=seed) for seed in range(3)]
    env, many = taskgen.make(specs[1]), taskgen.make_vec(specs)
    check_env(env, skip_render_check=True)
    many.action_space.seed(3)
    seen, _ = many.reset(seed=5)
    alone, _ = env.reset(seed=6)  # slot 1's seed
    for _ in range(2):
        assert many.observation_space.contains(seen)
        assert env.observation_space.contains(alone)
        assert _same(_of_slot(seen, 1), alone)
        actions = many.action_space.sample()
        seen, reward, *_ = many.step(actions)
        alone, paid, *_ = env.step(_of_slot(actions, 1))
        assert reward[1] == paid


def _of_slot(values, slot):
    if isinstance(values, dict):
        return {key: _of_slot(value, slot) for key, value in values.items()}
    if isinstance(values, tuple):
        return tuple(_of_slot(value, slot) for value in values)
    return values[slot]


def _same(one, other):
    return gym.utils.env_checker.data_equivalence(one, other) or bool(np.all(np.asarray(one) == np.asarray(other)))
