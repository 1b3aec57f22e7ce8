"""`taskgen.make_parallel`: tasks of a source as PettingZoo's parallel environment."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import parallel_toys
import pytest
from pettingzoo.test import parallel_api_test

import taskgen
from registry.errors import UserError
from taskgen.spec import RewardSpec

pytestmark = pytest.mark.filterwarnings("ignore:.*changed nothing in 32 steps")
STAY, GO = 1, 2
LENGTH = {"length": {"low": 2.0, "high": 8.0}}
ADR = {"name": "adr", "widen_above": 0.8, "narrow_below": 0.2, "step": 0.5, "queue": 8}


def walk(id_: str = "Walk", agent: str = "walker_0", **settings: Any) -> dict[str, Any]:
    return {"name": "parallel", "id": f"parallel_toys:{id_}", "agent": agent, "knobs": LENGTH, **settings}


def made(source: Any = "domain-randomization", **settings: Any) -> Any:
    return taskgen.make_parallel(source, family=walk(**settings))


def built(*names: str, **settings: Any) -> Any:
    return taskgen.build_family(
        "parallel", {key: value for key, value in walk(*names, **settings).items() if key != "name"}
    )


def play(env: Any, action: int = STAY, seed: int | None = None) -> list[Any]:
    """An episode: what every step gave."""
    observations, infos = env.reset(seed=seed)
    seen = [(observations, infos)]
    while env.agents:
        seen.append(env.step(dict.fromkeys(env.agents, action)))
    return seen


@pytest.mark.parametrize("others", [{}, {"pusher_1": "parallel_toys:right"}])
def test_passes_the_test_of_pettingzoo(others: dict[str, str]):
    env = made(others=others)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(env, num_cycles=100)


def test_every_reset_draws_a_task_of_the_source():
    """The tasks of `taskgen generate`, each with its own length: who goes right gets there in as many steps."""
    env = made()
    tasks = taskgen.build_source("domain-randomization", env.family, 0).ask(4)
    for number, task in enumerate(tasks):
        seen = play(env, GO, seed=0 if number == 0 else None)
        assert env.task == task
        assert seen[0][1]["walker_0"]["task_id"] == task.number
        # 1.2 a step for three steps, then 1.1 without pusher_1
        place, steps = seen[0][0]["walker_0"][0], 0
        while place < task.context["length"]:
            place, steps = place + (1.2 if steps < 3 else 1.1), steps + 1
        assert len(seen) - 1 == steps


def test_agents_leave_when_they_end_and_those_who_are_said_are_not_there():
    env = made()
    seen = play(env, STAY, seed=1)
    assert [set(step[0]) for step in seen[1:6]] == [{"walker_0", "pusher_0", "pusher_1"}] * 3 + [
        {"walker_0", "pusher_0"}
    ] * 2
    assert seen[3][2] == {"walker_0": False, "pusher_0": False, "pusher_1": True}
    scripted = made(others={"pusher_0": "parallel_toys:right"})
    assert scripted.possible_agents == ["walker_0", "pusher_1"]
    first, *rest = play(scripted, STAY, seed=1)
    assert [set(step[0]) for step in rest[:4]] == [{"walker_0", "pusher_1"}] * 3 + [{"walker_0"}]
    begin = first[0]["walker_0"][0]
    assert np.allclose([step[0]["walker_0"][0] - begin for step in rest[:4]], [0.1, 0.2, 0.3, 0.4], atol=1e-5)


def test_the_same_seed_gives_the_same_tasks_and_episodes():
    env, other = made(others={"pusher_0": "random"}), made(others={"pusher_0": "random"})

    def told(one: Any, seed: int | None) -> Any:
        seen = [[(agent, value.tolist()) for agent, value in step[0].items()] for step in play(one, seed=seed)]
        return one.task.id, seen

    first = [told(env, 5), told(env, None)]
    assert first == [told(other, 5), told(other, None)] == [told(env, 5), told(env, None)]
    assert first[0] != first[1]
    assert told(env, 6) != first[0]


class Noting:
    """A source of the shortest and the longest walk in turn, which keeps what it is told."""

    feedback = True

    def __init__(self, family: Any) -> None:
        self.family, self.asked, self.told = family, 0, []

    def ask(self, n: int) -> list[Any]:
        self.asked += n
        return [self.family.spec({"length": 2.0 if (self.asked - n + k) % 2 == 0 else 8.0}) for k in range(n)]

    def tell(self, results: Any) -> None:
        self.told += [(one.spec.context["length"], *one.returns) for one in results]

    def state_dict(self) -> dict[str, Any]:
        return {"asked": self.asked}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.asked = state["asked"]


@pytest.mark.parametrize(("agent", "returns"), [("walker_0", [1.0, 1.0]), ("pusher_0", [-0.5, -0.5])])
def test_the_source_is_told_what_our_agent_earned_in_episodes_that_ended(agent: str, returns: list[float]):
    source = Noting(built(agent=agent))
    env = taskgen.make_parallel(source)
    play(env, GO)
    env.reset()
    env.step(dict.fromkeys(env.agents, GO))
    assert env.task.context["length"] == 8.0
    play(env, GO)  # the one before was cut
    assert source.told == [(2.0, returns[0]), (2.0, returns[1])]
    assert source.asked == 3
    play(env, GO, seed=1)  # anew, as it was when it was given
    assert source.asked == 1
    assert source.told[-1][0] == 2.0


def test_a_curriculum_learns_from_it():
    """Who always arrives has the range of lengths widened."""
    env = made(ADR)
    widths = set()
    for episode in range(120):
        play(env, GO, seed=0 if episode == 0 else None)
        widths.add(env.task.context["length"])
    assert len(widths) > 3


def test_the_horizon_of_the_family_ends_an_episode_of_all():
    env = taskgen.make_parallel("domain-randomization", family=walk("NeverEnds", knobs={}, horizon=4))
    seen = play(env, STAY, seed=0)
    assert len(seen) - 1 == 4
    assert seen[-1][3] == {"walker_0": True, "pusher_0": True}
    assert seen[-1][2] == {"walker_0": False, "pusher_0": False}


def test_knobs_of_all_places_and_levels_reach_it():
    start = {"start": {"low": -1.0, "high": 1.0, "default": 0.5, "to": "options.start"}}
    family = built(knobs=start, levels=True)
    env = taskgen.make_parallel(family.spec({"start": 1.0}, seed=7), render_mode="rgb_array")
    expected, _ = parallel_toys.Walk().reset(seed=7, options={"start": 1.0})
    assert env.render() is None
    for seed in (1, None):
        assert env.reset(seed=seed)[0]["walker_0"].tolist() == expected["walker_0"].tolist()
    assert env.render().shape == (4, 6, 3)


def test_what_cannot_be_honoured_is_refused_by_name():
    with pytest.raises(UserError, match=r"builtin/bandit has one agent: take taskgen.make_sampler"):
        taskgen.make_parallel("domain-randomization", family="bandit")
    with pytest.raises(UserError, match="needs a family"):
        taskgen.make_parallel("domain-randomization")
    task = made().task
    with pytest.raises(UserError, match="a task names its family"):
        taskgen.make_parallel(task, family="parallel")
    paid = built().spec(reward=RewardSpec("random-discriminator", {}))
    with pytest.raises(UserError, match="pays builtin/random-discriminator, which is one agent's reward"):
        taskgen.make_parallel(paid)
    env = made()
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step({})
    env.reset(seed=0)
    with pytest.raises(
        gym.error.InvalidAction, match="actions of walker_0: expected one of each of walker_0, pusher_0"
    ):
        env.step({"walker_0": STAY})
    with pytest.raises(gym.error.InvalidAction, match=r"action 3 of pusher_1 is not in Discrete\(3\)"):
        env.step({"walker_0": STAY, "pusher_0": STAY, "pusher_1": 3})
    with pytest.raises(gym.error.Error, match="options"):
        env.reset(options={"start": 1.0})


@pytest.mark.filterwarnings("ignore:.*broke when it was tried")
def test_a_task_of_other_spaces_is_named():
    env = taskgen.make_parallel(Noting(built("OtherSpaces")))
    play(env, GO)
    with pytest.raises(UserError, match=r"task [0-9a-f]+: walker_0 of it is not there, or has other spaces"):
        env.reset()
