"""`TensorBatch`: slots that never touch one another, masked resets, seeds, tasks that come and go."""

import pytest
import torch
from torch import Tensor

from registry.errors import TaskError
from taskgen.batch import TaskBatch
from taskgen.build import build_family
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec

pytestmark = pytest.mark.usefixtures("scripted_families")

FAMILIES = ["bandit", "tabular-mdp", "scripted_families/coins"]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> TaskFamily:
    return build_family(request.param, {"pulls": 6} if request.param == "bandit" else {})


def specs_of(family: TaskFamily, count: int) -> list[TaskSpec]:
    if family.name == "builtin/bandit":
        rng = torch.Generator().manual_seed(0)
        return [family.spec({"probabilities": torch.rand(5, generator=rng).tolist()}, seed=n) for n in range(count)]
    return [family.spec(seed=number) for number in range(count)]


def batch_of(family: TaskFamily, specs: list[TaskSpec]) -> TaskBatch:
    batch = family.batch(len(specs))
    batch.set_tasks(specs)
    return batch


def actions_of(family: TaskFamily, steps: int, slots: int) -> Tensor:
    return torch.randint(int(family.action_space.n), (steps, slots), generator=torch.Generator().manual_seed(1))  # type: ignore[attr-defined]


def play(batch: TaskBatch, actions: Tensor, resets: Tensor) -> Tensor:
    """[T, B, ...] everything that happens; slots are reset before step t where `resets[t]`."""
    rows = []
    for action, where in zip(actions, resets, strict=True):
        before = batch.reset(where)
        outcome = batch.step(action)
        flags = torch.stack([outcome.reward, outcome.terminated.float(), outcome.truncated.float()], dim=1)
        rows.append(torch.cat([before, outcome.observation, flags], dim=1))
    return torch.stack(rows)


def test_a_slot_does_not_depend_on_the_others(family: TaskFamily) -> None:
    slots, steps = 7, 25
    specs, actions = specs_of(family, slots), actions_of(family, steps, slots)
    resets = torch.rand(steps, slots, generator=torch.Generator().manual_seed(2)) < 0.2
    resets[0] = True
    together = play(batch_of(family, specs), actions, resets)
    for slot in range(slots):
        only = slice(slot, slot + 1)
        alone = play(batch_of(family, specs[only]), actions[:, only], resets[:, only])
        assert torch.equal(together[:, only], alone)


@pytest.mark.parametrize("slots", [1, 3, 64, 2000])
def test_noise_drawn_ahead_is_the_noise_drawn_step_by_step(family: TaskFamily, slots: int) -> None:
    specs, actions = specs_of(family, slots), actions_of(family, 12, slots)
    ahead, single = batch_of(family, specs), batch_of(family, specs)
    single._look_ahead = 1  # type: ignore[attr-defined]
    for batch in (ahead, single):
        batch.reset()
    for action in actions:
        left, right = ahead.step(action), single.step(action)
        assert torch.equal(left.observation, right.observation)
        assert torch.equal(left.reward, right.reward)


def test_a_masked_reset_touches_only_masked_rows() -> None:
    family = build_family("scripted_families/coins")
    batch = batch_of(family, specs_of(family, 4))
    batch.reset()
    before = batch.step(torch.zeros(4, dtype=torch.int64)).observation
    mask = torch.tensor([False, True, False, True])
    after = batch.reset(mask)
    assert torch.equal(after[~mask], before[~mask])
    assert (after[mask] != before[mask]).all()
    steps = family.horizon - 1
    for step in range(1, steps + 1):
        truncated = batch.step(torch.zeros(4, dtype=torch.int64)).truncated
        assert truncated.tolist() == ([True, False, True, False] if step == steps else [False] * 4)


def test_every_episode_has_noise_of_its_own_and_seeds_restart_it() -> None:
    family = build_family("scripted_families/coins")
    batch = batch_of(family, specs_of(family, 3))
    starts = [batch.reset() for _ in range(5)]
    assert len({tuple(row) for start in starts for row in start.tolist()}) == 15
    assert torch.equal(batch.reset(seeds=[0, 1, 2]), starts[0])
    assert torch.equal(batch.reset(), starts[1])
    swapped = batch.reset(seeds=[2, 1, 0])
    assert torch.equal(swapped, starts[0].flip(0))


def test_seeds_restart_the_noise_of_reset_slots_alone() -> None:
    family = build_family("scripted_families/coins")
    batch, other = batch_of(family, specs_of(family, 3)), batch_of(family, specs_of(family, 3))
    first = batch.reset()
    other.reset()
    mask = torch.tensor([True, False, False])
    assert torch.equal(batch.reset(mask, seeds=[1, 99, 99])[0], first[1])
    expected = other.reset()
    assert torch.equal(batch.reset()[1:], expected[1:])


def test_new_tasks_for_some_slots() -> None:
    family = build_family("bandit", {"arms": 2, "pulls": 50})
    left, right = family.spec({"probabilities": [1.0, 0.0]}, seed=1), family.spec({"probabilities": [0.0, 1.0]}, seed=2)
    batch = batch_of(family, [left] * 4)
    batch.set_tasks([right, right], [3, 1])
    batch.reset()
    zeros = torch.zeros(4, dtype=torch.int64)
    assert batch.step(zeros).reward.tolist() == [1, 0, 1, 0]
    assert batch.step(zeros + 1).reward.tolist() == [0, 1, 0, 1]
    assert batch.descriptor().tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]


def test_new_tasks_for_some_slots_begin_their_noise_anew() -> None:
    family = build_family("scripted_families/coins")
    specs = specs_of(family, 3)
    batch, fresh = batch_of(family, specs[:2]), batch_of(family, [specs[2], specs[1]])
    for _ in range(2):
        batch.reset()
        fresh.reset()
    batch.set_tasks([specs[2]], [0])
    start = batch.reset()
    assert torch.equal(start[1], fresh.reset()[1])  # the third of its episodes
    assert torch.equal(start[0], batch_of(family, specs[2:]).reset()[0])  # the first


def test_wrong_tasks_are_refused() -> None:
    family = build_family("bandit")
    batch = family.batch(2)
    with pytest.raises(ValueError, match="fills all slots"):
        batch.set_tasks([family.spec()], [0])
    with pytest.raises(ValueError, match="1 tasks for 2 slots"):
        batch.set_tasks([family.spec()])
    with pytest.raises(TaskError, match="arms = 5, found 3"):
        batch.set_tasks([family.spec(), build_family("bandit", {"arms": 3}).spec()])


def test_results_stay_as_they_were_given_out() -> None:
    """Nothing that a step or reset returned is changed by a later one."""
    for name in FAMILIES:
        family = build_family(name)
        batch = batch_of(family, specs_of(family, 3))
        given = [batch.reset()]
        for action in actions_of(family, 12, 3):
            outcome = batch.step(action)
            given += [outcome.observation, outcome.reward, outcome.terminated, outcome.truncated]
            given.append(batch.reset(outcome.truncated))
            copies = [value.clone() for value in given]
            batch.step(action)
            assert all(torch.equal(value, copy) for value, copy in zip(given, copies, strict=True))
