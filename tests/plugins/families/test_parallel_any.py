"""The family `parallel`: anybody's PettingZoo environment, one agent of which is ours."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import parallel_toys
import pytest
import torch

import taskgen
from registry.config import Part
from registry.errors import ConfigError, TaskError, UserError
from registry.nameable import nameable
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.playing import TrialPlayer
from taskgen.testing import check_family

pytestmark = pytest.mark.filterwarnings("ignore:.*changed nothing in 32 steps")
LENGTH = {"length": {"low": 2.0, "high": 8.0}}
RIGHT = {"*": "parallel_toys:right"}
LEFT, STAY, GO = 0, 1, 2


def family(id_: str = "Walk", agent: str = "walker_0", **settings: Any) -> Any:
    return taskgen.build_family("parallel", {"id": f"parallel_toys:{id_}", "agent": agent, **settings})


def places(made: Any, steps: int, action: int = STAY, seed: int = 1, **context: float) -> list[float]:
    """Where the walker is after each of so many steps, from where it began."""
    batch = made.batch(1)
    batch.set_tasks([made.spec(context, seed=seed)])
    begin = float(batch.reset()[0, 0])
    return [round(float(batch.step(torch.tensor([action])).observation[0, 0]) - begin, 4) for _ in range(steps)]


# ------------------------------------------------------------------------------------------------ who plays
def test_an_environment_of_ones_own_keeps_the_contract_of_every_family():
    made = family(knobs={**LENGTH, "pull": {"low": -0.2, "high": 0.2, "to": "attribute.pull"}})
    check_family(made)
    assert made.horizon == 20
    assert made.context_space.knobs["length"].default == 5.0


def test_the_others_are_played_as_it_is_said():
    """Each who goes right moves the walker by 0.1 a step; pusher_1 leaves after the third."""
    assert places(family(others=RIGHT), 5) == [0.2, 0.4, 0.6, 0.7, 0.8]
    assert places(family(others=RIGHT), 2, GO) == [1.2, 2.4]
    late = {"*": "parallel_toys:late_right", "pusher_1": "parallel_toys:right"}
    assert places(family(others=late), 5) == [0.1, 0.2, 0.4, 0.5, 0.6]
    assert places(family("Masked"), 4) == [0.2, 0.4, 0.6, 0.7]


def test_any_agent_may_be_ours_and_its_end_is_the_end():
    """pusher_1 is terminated with the third step, whatever becomes of the others."""
    made = family(agent="pusher_1", others=RIGHT)
    assert made.observation_space.shape == (1,)
    batch = made.batch(1)
    batch.set_tasks([made.spec()])
    batch.reset()
    ended = [batch.step(torch.tensor([STAY])) for _ in range(3)]
    assert [bool(one.terminated) for one in ended] == [False, False, True]
    assert [float(one.observation) for one in ended] == [1.0, 2.0, 3.0]
    assert not batch.faults.count


def test_our_agent_is_paid_its_own_reward():
    made = family(agent="pusher_0", knobs=LENGTH, others={"walker_0": "parallel_toys:right"})
    batch = made.batch(1)
    batch.set_tasks([made.spec({"length": 2.5})])
    batch.reset()
    assert [float(batch.step(torch.tensor([STAY])).reward) for _ in range(3)] == [0.0, 0.0, -0.5]


@pytest.mark.parametrize(("policy", "workers"), [("random", 0), ("parallel_toys:drawn", 0), ("parallel_toys:drawn", 2)])
def test_what_the_others_draw_follows_the_seed_wherever_they_are_hosted(policy: str, workers: int):
    made = family(others={"*": policy}, workers=workers, deadline=20.0)
    batch = made.batch(4)
    batch.set_tasks([made.spec(seed=seed) for seed in (1, 2, 1, 3)])
    batch.reset()
    seen = torch.stack([batch.step(torch.full((4,), STAY)).observation[:, 0] for _ in range(12)], dim=1)
    assert torch.equal(seen[0], seen[2])
    moves = (seen.diff(dim=1) * 10).round().int()
    assert len({tuple(row.tolist()) for row in moves}) == 3
    alone = family(others={"*": policy}).batch(1)
    alone.set_tasks([made.spec(seed=2)])
    alone.reset()
    again = torch.stack([alone.step(torch.tensor([STAY])).observation[0, 0] for _ in range(12)])
    assert torch.equal(again, seen[1])


def loaded(made: Any, name: str = "rl2", seed: int = 0) -> Any:
    """What `agents.api.load` gives, of an agent that has learned nothing."""
    problem = problem_of(made, episodes=1, seed=seed, device=torch.device("cpu"))
    agent = build_agent(Part(name=name), problem)

    def trial(episodes: int | None = None) -> TrialPlayer:
        return TrialPlayer(agent, problem, action_space=made.action_space, episodes=episodes)

    return SimpleNamespace(agent=agent, problem=problem, family=made, trial=trial)


def test_a_trained_agent_plays_another_and_follows_the_seed(monkeypatch: pytest.MonkeyPatch):
    """Slots share the agent; neither their number nor the order in which they are asked changes what it does."""
    monkeypatch.setattr(parallel_toys, "rival", loaded(family(agent="pusher_0")), raising=False)
    made = family(others={"*": "random", "pusher_0": "parallel_toys:rival"})

    def seen(seeds: list[int]) -> torch.Tensor:
        batch = made.batch(len(seeds))
        batch.set_tasks([made.spec(seed=seed) for seed in seeds])
        batch.reset()
        steps = [batch.step(torch.full((len(seeds),), STAY)).observation[:, 0] for _ in range(8)]
        batch.reset()
        return torch.stack([*steps, batch.step(torch.full((len(seeds),), STAY)).observation[:, 0]], dim=1)

    both = seen([1, 2])
    assert not torch.equal(both[0], both[1])
    assert torch.equal(seen([2]), both[1:])
    assert torch.equal(seen([2, 5, 1])[2], both[0])


def test_a_function_that_loads_an_agent_is_called_once(monkeypatch: pytest.MonkeyPatch):
    calls: list[Any] = []

    def rival() -> "LoadedAgent":  # noqa: F821 - a name is all that is looked at
        calls.append(loaded(family(agent="pusher_0")))
        return calls[-1]

    monkeypatch.setattr(parallel_toys, "rival", rival, raising=False)
    made = family(others={"pusher_0": "parallel_toys:rival"})
    for _ in range(2):
        batch = made.batch(2)
        batch.set_tasks([made.spec(seed=1), made.spec(seed=2)])
        batch.reset()
        assert not batch.step(torch.tensor([STAY, STAY])).truncated.any()
    assert len(calls) == 1


def test_what_a_file_may_hold_without_a_hook():
    held = {"Walk", "Raises", "parallel_env", "annotated", "of_turns", "right", "drawn", "breaks"}
    found = set(nameable(parallel_toys))
    assert held <= found
    assert not found & {"unsaid", "of_two", "ParallelEnv", "AECEnv", "WALKER"}


def test_a_trained_agent_of_other_spaces_is_refused_by_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parallel_toys, "stranger", loaded(family()), raising=False)
    words = r"others.pusher_0: the agent that was loaded sees Box\(-50.* while pusher_0 has Box\(0.0"
    with pytest.raises(UserError, match=words):
        family(others={"pusher_0": "parallel_toys:stranger"})


# ------------------------------------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"agent": "walker_1"}, "agent = 'walker_1': parallel_toys:Walk has no such agent. Did you mean 'walker_0'"),
        ({"others": {"pusher_2": "random"}}, "others.pusher_2: parallel_toys:Walk has no such agent.*'pusher_"),
        ({"others": {"walker_0": "random"}}, "others.walker_0: this agent is ours"),
        ({"others": {"pusher_0": "parallel_toys:rigth"}}, "others.pusher_0 = .*rigth'.*Did you mean 'right'"),
        ({"others": {"pusher_0": "parallel_toys:of_two"}}, r"a function of \(observation, agent, rng\)"),
        ({"others": {"pusher_0": "parallel_toys:Walk"}}, r"a function of \(observation, agent, rng\)"),
        ({"others": {"pusher_0": "right"}}, "others.pusher_0 = 'right': expected 'random' or module:name"),
        ({"others": {"pusher_0": "antigravity:fly"}}, "others.pusher_0 = .*no module of a plugin"),
        ({"id": "CartPole-v1"}, "id = 'CartPole-v1': expected module:name of a pettingzoo.ParallelEnv"),
        ({"id": "parallel_toys:Wlak"}, "'Wlak' of parallel_toys is no pettingzoo.ParallelEnv.*Did you mean 'Walk'"),
        ({"id": "parallel_toys:unsaid"}, "no function called parallel_env or annotated"),
        ({"id": "shutil:rmtree"}, "no pettingzoo.ParallelEnv"),
        ({"id": "antigravity:parallel_env"}, "no module of a plugin.*--plugin antigravity.py"),
        ({"id": "parallel_toys:of_turns"}, "expected a pettingzoo.ParallelEnv; pettingzoo.utils.aec_to_parallel makes"),
        ({"id": "parallel_toys:Nameless"}, "has possible_agents = None, expected the names of all its agents"),
        ({"id": "parallel_toys:Endless"}, "horizon: parallel_toys:Endless has no limit .*family.horizon=200"),
        ({"kwargs": {"length": "/etc/hosts"}}, "kwargs.length = '/etc/hosts'.*neither files"),
        ({"knobs": {"lenght": {}}}, "Did you mean 'length'"),
    ],
)  # fmt: skip
def test_what_names_nothing_is_refused(settings: dict[str, Any], words: str):
    with pytest.raises(UserError, match=words):
        taskgen.build_family("parallel", {"id": "parallel_toys:Walk", "agent": "walker_0", **settings})


@pytest.mark.parametrize("id_", ["parallel_env", "annotated"])
def test_a_function_that_says_what_it_makes_will_do(id_: str):
    knob = {"length": {"low": 2.0, "high": 8.0, "default": 5.0}}
    made = family(id_, knobs=knob, horizon=20)
    assert made.spec().context["length"] == 5.0


def test_a_module_that_nobody_imported_is_not_imported_for_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Tasks are data, whether they name an environment or a policy."""
    (tmp_path / "stranger.py").write_text("raise SystemExit('this ran')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    line = family(others=RIGHT).spec().canonical()
    for named in ("parallel_toys:Walk", "parallel_toys:right"):
        task = taskgen.TaskSpec.from_json(line.replace(named, f"stranger:{named.partition(':')[2]}"))
        with pytest.raises(TaskError, match="stranger is no module of a plugin"):
            taskgen.family_of(task)
    assert "stranger" not in sys.modules


def test_pettingzoos_own_environments_need_no_import():
    pytest.importorskip("pygame")
    settings = {"n_pursuers": 2, "n_evaders": 2, "x_size": 8, "y_size": 8}
    id_ = "pettingzoo.sisl.pursuit.pursuit:parallel_env"
    made = taskgen.build_family("parallel", {"id": id_, "agent": "pursuer_1", "kwargs": settings, "horizon": 9})
    assert made.observation_space.shape == (7, 7, 3)


# ------------------------------------------------------------------------------------------------ faults
@pytest.mark.filterwarnings("ignore:.*broke when it was tried")
@pytest.mark.parametrize(
    ("id_", "words"),
    [
        ("Raises", "it raised ValueError: the floor gave way"),
        ("Drops", "step dropped walker_0: not among its agents any more, nor terminated or truncated"),
        ("Vanishes", "step gave no termination of walker_0, only of pusher_0, pusher_1"),
        ("LacksRewards", "step gave no reward of walker_0, only of nobody"),
        ("BlindPusher", "step gave no observation of pusher_0, only of walker_0, pusher_1"),
        ("NanReward", "reward = nan, expected a finite number"),
        ("FourValues", r"expected \(observations, rewards, terminations, truncations, infos\), dicts by agent"),
        ("Lists", "dicts by agent"),
        ("WrongShape", r"\[3\], expected \[2\]"),
    ],
)
def test_a_wrong_answer_costs_an_episode_and_is_told_by_name(id_: str, words: str):
    made = family(id_)
    batch = made.batch(2)
    batch.set_tasks([made.spec(seed=1), made.spec(seed=2)])
    batch.reset()
    for _ in range(2):
        before = batch.step(torch.tensor([GO, STAY]))
        assert not before.truncated.any()
    kept = before.observation.clone()
    outcome = batch.step(torch.tensor([GO, STAY]))
    assert outcome.truncated.tolist() == [True, True]
    assert outcome.reward.tolist() == [0.0, 0.0]
    assert torch.equal(outcome.observation, kept)
    (reason,) = batch.faults.reasons
    assert re.search(words, reason), reason
    batch.reset()
    assert not batch.step(torch.tensor([GO, STAY])).truncated.any()


@pytest.mark.filterwarnings("ignore:.*(broke when it was tried|remembers earlier episodes)")
@pytest.mark.parametrize(
    ("id_", "words"),
    [
        ("Stranger", "reset brought 'ghost_0', who is none of its possible_agents"),
        ("LeavesOut", "after reset walker_0 is not among its agents, pusher_0, pusher_1"),
        ("ChangesSpaces", r"the action space of walker_0 is Discrete\(4\) after reset, expected Discrete\(3\)"),
    ],
)
def test_an_episode_that_begins_wrongly_is_told_by_name(id_: str, words: str):
    made = family(id_)
    batch = made.batch(1)
    batch.set_tasks([made.spec()])
    batch.reset()
    assert not batch.step(torch.tensor([STAY])).truncated.any()
    batch.reset()
    assert batch.step(torch.tensor([STAY])).truncated.all()
    (reason,) = batch.faults.reasons
    assert re.search(words, reason), reason


@pytest.mark.filterwarnings("ignore:.*broke when it was tried")
@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("out_of_space", r"the policy of pusher_0 gave 7, not in Discrete\(3\)"),
        ("breaks", "the policy of pusher_0: it raised KeyError: 'no such move'"),
    ],
)
def test_a_policy_that_fails_is_told_by_whom_it_plays(policy: str, words: str):
    made = family(others={"pusher_0": f"parallel_toys:{policy}"})
    batch = made.batch(1)
    batch.set_tasks([made.spec()])
    batch.reset()
    assert batch.step(torch.tensor([STAY])).truncated.all()
    (reason,) = batch.faults.reasons
    assert re.search(words, reason), reason


@pytest.mark.filterwarnings("ignore:.*broke when it was tried")
def test_a_task_with_other_spaces_is_a_fault_of_its_own():
    made = family("OtherSpaces", knobs=LENGTH, others=RIGHT)
    batch = made.batch(2)
    batch.set_tasks([made.spec({"length": 7.5}), made.spec({"length": 2.5})])
    batch.reset()
    ended = [batch.step(torch.tensor([GO, GO])) for _ in range(3)]
    assert ended[0].truncated.tolist() == [True, False]
    assert [one.terminated.tolist()[1] for one in ended] == [False, False, True]
    assert "observation space is" in batch.faults.last.reason
    assert batch.faults.last.task.context["length"] == 7.5


def test_what_never_ends_is_cut_at_the_horizon():
    made = family("NeverEnds")
    batch = made.batch(1)
    batch.set_tasks([made.spec()])
    batch.reset()
    cut = [bool(batch.step(torch.tensor([GO])).truncated) for _ in range(20)]
    assert cut == [False] * 19 + [True]
    assert not batch.faults.count


def test_without_a_limit_of_steps_one_can_be_said():
    assert family("Endless", horizon=7).horizon == 7
    with pytest.raises(ConfigError, match="horizon"):
        family("Endless")


# ------------------------------------------------------------------------------------------------ as any family
def test_an_agent_plays_it_in_workers_as_in_this_process():
    def trial(**settings: Any) -> Any:
        made = family(knobs=LENGTH, others={"*": "parallel_toys:drawn"}, **settings)
        agent = loaded(made, "random").agent
        specs = [made.spec({"length": length}, seed=seed) for seed, length in enumerate((2.5, 4.0, 6.0))]
        return collect(agent, made.batch(3), specs, plan=agent.plan(2))

    here, there = trial(), trial(workers=2, deadline=20.0)
    for name in ("observation", "reward", "terminated", "valid"):
        assert torch.equal(getattr(here.rounds[0], name), getattr(there.rounds[0], name)), name


def test_who_the_others_are_is_part_of_the_task():
    assert family(others=RIGHT).spec().id != family().spec().id
    again = taskgen.family_of(taskgen.TaskSpec.from_json(family(others=RIGHT).spec(seed=1).to_json()))
    assert again.structure == family(others=RIGHT).structure


def test_a_task_is_drawn_as_the_environment_draws():
    made = family()
    assert np.array_equal(made.render(made.spec()), np.zeros((4, 6, 3), dtype=np.uint8))
    assert "stumble = 0.25" in str(taskgen.build_family("parallel").render(taskgen.build_family("parallel").spec()))
