"""Environments are copied and sent to other processes in the middle of an episode, and go on bit for bit."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import registry
import taskgen

FAMILIES = [item.full_name for item in registry.catalogue().items("families")]


def course(env: Any, actions: list[Any]) -> list[Any]:
    """All that happens under `actions`, with resets where an episode ends."""
    seen: list[Any] = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        seen += [np.asarray(observation).tobytes(), np.asarray(reward).tolist(), np.asarray(terminated).tolist()]
        if np.ndim(terminated) == 0 and (terminated or truncated):
            seen.append(np.asarray(env.reset()[0]).tobytes())
    return seen


@pytest.mark.parametrize("name", FAMILIES)
def test_a_copy_goes_on_as_the_original_does(name: str) -> None:
    family = taskgen.build_family(name)
    env = taskgen.make(family.spec(seed=3))
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(12)]
    env.reset(seed=1)
    course(env, actions[:5])
    copies = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    course(copies[0], actions[:3])  # a copy that goes on touches no other
    copies[0] = copy.deepcopy(env)
    expected = course(env, actions)
    assert len(set(map(str, expected))) > 2
    for one in copies:
        assert course(one, actions) == expected


@pytest.mark.parametrize("name", ["half-cheetah", "ant", "terrain-walker"])
def test_slots_keep_their_tasks_and_their_places_in_the_episode(name: str) -> None:
    """Some slots have ended and wait, all have tasks of their own, one is about to get another."""
    family = taskgen.build_family(name)
    knob = next(name for name, knob in family.context_space.knobs.items() if not knob.shape and not knob.integer)
    low, high = family.context_space.knobs[knob].low, family.context_space.knobs[knob].high
    specs = [family.spec({knob: low + share * (high - low)}, seed=4) for share in (0.3, 0.5, 0.7)]
    envs = taskgen.make_vec(specs, autoreset_mode="Disabled")
    envs.reset(seed=2)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(10)]
    for action in actions[:4]:
        envs.step(action)
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    envs.set_tasks([specs[0]], [2])
    copies = [copy.deepcopy(envs), pickle.loads(pickle.dumps(envs))]
    expected = course(envs, actions)
    last = envs.reset(seed=9)[0].tobytes()
    for one in copies:
        assert list(one.tasks) == specs
        assert course(one, actions) == expected
        assert one.reset(seed=9)[0].tobytes() == last
        assert one.tasks[2] == specs[0]
    assert envs._slots._batch.descriptor().tolist() == copies[1]._slots._batch.descriptor().tolist()
