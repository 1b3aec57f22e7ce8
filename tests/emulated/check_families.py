"""Every family on the emulated device: no mix-up of devices, the CPU's numbers, no wait in the tensor engine."""

import numpy as np
import pytest
import torch

from taskgen.engines.tensor import TensorBatch
from taskgen.engines.testing import check_batch, sample_actions
from taskgen.faces.env import TaskEnv
from taskgen.faces.vector import TaskVectorEnv
from taskgen.interaction.agent import CollectionPlan
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect
from tests.emulated import device
from tests.emulated.catalogue import FAMILIES, Scripted, small

device.install()

HOST_ENGINE_SYNCS = 4
"""The most a step of an engine that steps on the host may wait: the action goes there, and which slots to reset."""
PLANS = [CollectionPlan(1, 2), CollectionPlan(2, 1), CollectionPlan(2, 2, side_by_side=True)]
TASKS = 3
ROUNDING = {"rtol": 1e-3, "atol": 1e-4} if device.REAL else {"rtol": 0.0, "atol": 0.0}
"""How far a card's own arithmetic may be from the CPU's."""


def longest(name: str) -> int:
    """Episodes long enough for poles to fall and goals to be reached; short where steps are dear."""
    return 12 if isinstance(small(name, 4).batch(1), TensorBatch) else 3


@pytest.mark.parametrize("name", FAMILIES)
def test_the_batch_keeps_its_contract(name):
    family = small(name, longest(name))
    check_batch(family, [family.spec(seed=seed) for seed in range(TASKS)], device=device.NAME)


@pytest.mark.parametrize("name", FAMILIES)
def test_returns_are_those_of_the_cpu(name):
    """Whatever the plan, with the horizon whole and cut: slots are reset by mask here, by what is seen there."""
    family = small(name, longest(name))
    specs = [family.spec(seed=seed) for seed in range(TASKS)]
    for plan in PLANS:
        for horizon in (None, max(1, family.horizon // 2)):
            returns = []
            for where in ("cpu", device.NAME):
                problem = problem_of(family, episodes=plan.episodes, seed=0, device=torch.device(where))
                batch = family.batch(TASKS * plan.slots, where)
                trial = collect(Scripted(problem, plan), batch, specs, plan=plan, horizon=horizon)
                returns.append(trial.episode_returns().cpu())
            torch.testing.assert_close(*returns, **ROUNDING, msg=f"{plan}, horizon {horizon}")


@pytest.mark.parametrize("name", FAMILIES)
def test_steps_and_resets_do_not_wait(name):
    family = small(name, longest(name))
    batch = family.batch(TASKS, device.NAME)
    with device.watched() as ledger:
        batch.set_tasks([family.spec(seed=seed) for seed in range(TASKS)])
        assert not ledger.syncs
        batch.reset(seeds=range(TASKS))
    mask = torch.tensor([True, False, True], device=device.NAME)
    steps = min(family.horizon, 6)
    actions = sample_actions(family, steps, TASKS).to(device.NAME)
    with device.watched() as ledger:
        for action in actions:
            outcome = batch.step(action)
            batch.reset(mask & (outcome.terminated | outcome.truncated))
        batch.reset(mask)
        batch.reset()
        batch.descriptor()
    if isinstance(batch, TensorBatch):
        assert not ledger.syncs
        assert not ledger.uploads
    else:
        assert ledger.syncs.total() <= HOST_ENGINE_SYNCS * (steps + 2), ledger.syncs


@pytest.mark.parametrize("name", FAMILIES)
def test_faces_give_what_they_give_on_the_cpu(name):
    """Gymnasium's environment and vector environment, with a change of task and a seed on the way."""
    family = small(name, longest(name))
    steps = min(family.horizon, 6)
    actions = sample_actions(family, steps, TASKS).numpy()
    tasks = [family.spec(seed=seed) for seed in range(TASKS)]
    seen = []
    for where in ("cpu", device.NAME):
        one, many = TaskEnv(tasks[0], device=where), TaskVectorEnv(tasks, device=where)
        values = [one.reset(seed=4)[0], many.reset(seed=[1, 2, 3])[0]]
        for action in actions:
            values += [*one.step(action[0])[:4], *many.step(action)[:4]]
            if values[-7] or values[-6]:
                values.append(one.reset()[0])
        one.set_task(tasks[1])
        many.set_tasks(tasks[:1], [2])
        seen.append([*values, one.reset()[0], many.reset(options={"reset_mask": np.array([False, False, True])})[0]])
    for mine, expected in zip(*seen, strict=True):
        torch.testing.assert_close(torch.as_tensor(mine), torch.as_tensor(expected), **ROUNDING)
