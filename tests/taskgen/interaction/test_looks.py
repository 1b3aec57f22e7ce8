"""Trials are the same whatever the device: where a look at the flags costs a sync, and where the engine is on the host.

A batch that says it lies on an accelerator stands in for one that does: its device is a string that torch takes for
"cpu", whose `type` is "cuda".
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

import registry
from registry.config import Part
from taskgen.batch import TaskBatch
from taskgen.build import build_family
from taskgen.engines import noise
from taskgen.interaction import collect as module
from taskgen.interaction.agent import Action, Agent, CollectionPlan, Rollout, Step, Trial
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

FAMILIES = [item.full_name for item in registry.catalogue().items("families")]
PLANS = {
    "one after another": CollectionPlan(1, 3),
    "round by round": CollectionPlan(3, 1),
    "side by side": CollectionPlan(2, 2, side_by_side=True),
}
TASKS = 3


class Card(str):
    """ "cpu" to torch, an accelerator to whoever asks."""

    __slots__ = ()
    type = "cuda"


def family_of(name: str) -> Any:
    """A family with episodes of at most 50 steps."""
    horizon = registry.catalogue().get("families", name).config_class().model_fields.get("horizon")
    return build_family(name, {"horizon": 50} if horizon is not None and horizon.default > 50 else {})


def elsewhere(batch: TaskBatch) -> TaskBatch:
    batch.device = Card("cpu")  # type: ignore[assignment]
    return batch


def played(name: str, plan: CollectionPlan, place: Callable[[TaskBatch], TaskBatch]) -> tuple[Trial, Any]:
    """A trial of a random player, and its state afterwards."""
    family = family_of(name)
    problem = problem_of(family, episodes=plan.episodes, seed=5, device=torch.device("cpu"))
    agent = build_agent(Part(name="random"), problem)
    specs = [family.spec(seed=seed) for seed in range(TASKS)]
    batch = place(family.batch(TASKS * plan.slots))
    return collect(agent, batch, specs, plan=plan), agent.state_dict()


def assert_same(one: Any, other: Any) -> None:
    """Two trees of dicts and tensors, to the bit."""
    if isinstance(one, dict):
        assert set(one) == set(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("name", FAMILIES)
def test_looking_every_few_steps_gives_what_looking_at_each_step_does(
    name: str, plan: CollectionPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, after = played(name, plan, lambda batch: batch)
    for every in (7, 32):
        monkeypatch.setattr(module, "LOOK", every, raising=False)
        far, left = played(name, plan, elsewhere)
        assert [len(rollout.reward) for rollout in far.rounds] == [len(rollout.reward) for rollout in near.rounds]
        for one, other in zip(near.rounds, far.rounds, strict=True):
            columns = [field.name for field in fields(Rollout)]
            assert_same(*({column: getattr(rollout, column) for column in columns} for rollout in (one, other)))
        assert_same(after, left)


def test_trials_end_early_on_an_accelerator() -> None:
    """Cart-poles under a random player fall after some twenty steps of five hundred; so does the hopper."""
    for name in ("builtin/cartpole", "builtin/hopper"):
        trial, _ = played(name, CollectionPlan(1, 2), elsewhere)
        assert len(trial.rollout.reward) < 90
        assert trial.rollout.valid[-1].any()


def test_an_engine_on_the_host_is_reset_only_where_something_is_to_be_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    from taskgen.engines.mujoco import MujocoBatch

    resets: list[int] = []
    reset = MujocoBatch.reset

    def counted(self: Any, where: Tensor | None = None, seeds: Any = None) -> Tensor:
        resets.append(self.slots if where is None else int(where.sum()))
        return reset(self, where, seeds)

    monkeypatch.setattr(MujocoBatch, "reset", counted)
    played("builtin/half-cheetah", CollectionPlan(1, 2), elsewhere)
    assert resets == [TASKS, TASKS]  # at the start, and when all have ended their first episode


@pytest.mark.parametrize("name", FAMILIES)
def test_an_episode_has_the_same_luck_after_the_others_and_beside_them(name: str) -> None:
    """What is seen at its start, of each of the four episodes of every task."""
    starts: list[Tensor] = []
    for plan in (
        CollectionPlan(1, 4),
        CollectionPlan(2, 2, side_by_side=True),
        CollectionPlan(1, 4, side_by_side=True),
    ):
        rollout = played(name, plan, lambda batch: batch)[0].rollout
        began = (rollout.episode_start & rollout.valid).nonzero()
        found = {
            (slot // plan.slots, int(rollout.episode_index[time, slot])): rollout.observation[time, slot]
            for time, slot in began.tolist()
        }
        starts.append(torch.stack([found[task, episode] for task in range(TASKS) for episode in range(4)]))
    assert torch.equal(starts[0], starts[1])
    assert torch.equal(starts[0], starts[2])


def test_seeds_of_episodes_are_those_whose_first_episode_it_is() -> None:
    seeds, episodes = [0, 1, 12345, 2**53 - 1, 2**63 - 1], [0, 1, 2, 511, 10**6]
    found = noise.episode_seeds(seeds, episodes)
    assert found[:: len(episodes)] == seeds
    firsts = noise.child(noise.keys(found), 0).view(5, 5)
    for column, episode in enumerate(episodes):
        assert torch.equal(firsts[:, column], noise.child(noise.keys(seeds), episode))


class Restless:
    """Tells a waiting slot's simulation to fly apart; stands still otherwise."""

    needs_descriptor = False

    def __init__(self, batch: Any, goal: int) -> None:
        self.batch, self.goal, self.waited = batch, goal, 0

    def begin_trial(self, batch: int) -> tuple[()]:
        return ()

    def act(self, carry: Any, step: Step) -> tuple[Action, Any]:
        waits = (step.episode_index >= self.goal).numpy()
        self.waited += int(waits.sum())
        self.batch._physics["qvel"][waits] = 1e12
        return Action(torch.zeros_like(step.previous_action)), carry

    def adapt(self, carry: Any, rollout: Rollout) -> Any:
        return carry

    def plan(self, episodes: int) -> CollectionPlan:
        return CollectionPlan(1, episodes)

    def learn(self, trial: Trial) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def test_nothing_is_blamed_on_a_task_while_its_slot_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first episode of slot 0 ends at once, so that it has played two of at most 4 steps while slot 1 goes on."""
    from dataclasses import replace

    family = build_family("half-cheetah", {"horizon": 30})
    batch: Any = family.batch(2)
    step, steps = batch.step, []

    def stumbling(action: Tensor) -> Any:
        outcome = step(action)
        steps.append(action)
        return replace(outcome, terminated=torch.tensor([len(steps) == 1, False]))

    monkeypatch.setattr(batch, "step", stumbling)
    agent: Agent = Restless(batch, 2)
    specs = [family.spec(seed=seed) for seed in range(2)]
    trial = collect(agent, batch, specs, plan=CollectionPlan(1, 2), horizon=4)
    assert trial.rollout.valid.sum(0).tolist() == [1 + 4, 4 + 4]
    assert agent.waited == 3  # type: ignore[attr-defined]
    assert batch.faults.count == 0
    assert batch.faults.reasons == {}


def test_steps_that_were_played_are_the_valid_ones() -> None:
    trial, _ = played("builtin/cartpole", CollectionPlan(2, 2, side_by_side=True), lambda batch: batch)
    valid = sum(int(rollout.valid.sum()) for rollout in trial.rounds)
    assert trial.played() == valid
    assert valid < sum(rollout.valid.numel() for rollout in trial.rounds)
