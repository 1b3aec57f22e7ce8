"""Plugins' parts that would not repeat, found by making them twice: a run would go on, or be judged, as another one."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from agents.evaluation.play import play
from agents.training.experiment import Experiment, Parts
from registry.config import Part
from registry.discovery import BUILTIN
from registry.errors import PluginError
from registry.plan import Plan
from taskgen.borders import asked, border, broken, is_foreign, state_of
from taskgen.build import build_source
from taskgen.interaction.build import build_agent
from taskgen.source import TaskSource
from taskgen.streams import seed_sequence

TASKS = 8
"""That are asked for, or played."""


def refuse_unrepeatable(plan: Plan[Experiment], parts: Parts) -> None:
    """Raise `PluginError` for a plugin's source that gives other tasks when made again, or made of its state.

    It is not the sources of the run that are asked, but others made as they were; those that it is judged by too.
    """
    experiment, evaluation = plan.config, plan.config.evaluation
    training = seed_sequence(experiment.seed, "source")
    _refuse_source(experiment.source, "source", training, parts)
    held_out = {"evaluation.source": evaluation.source}
    held_out |= {
        f"evaluation.out_of_distribution.{name}": part for name, part in evaluation.out_of_distribution.items()
    }
    for setting, part in held_out.items():
        if part is not None:
            _refuse_source(part, setting, seed_sequence(evaluation.seed, "held-out"), parts)


def _refuse_source(part: Part, setting: str, seed: np.random.SeedSequence, parts: Parts) -> None:
    names = ", ".join(dict.fromkeys(_of_plugins(part.model_dump(mode="json"))))
    if not names:
        return
    one, two, three = (build_source(part, parts.family, seed) for _ in range(3))
    if _ids(one, parts) != _ids(two, parts):
        raise PluginError(
            f"{names}: made twice with the same seed, a source ({setting}) asks for other tasks, so that no run would "
            "repeat: draw from the `seed` that it is built with"
        )
    state = copy.deepcopy(state_of(one))
    with border(three, "load_state_dict"):
        three.load_state_dict(state)
    if _ids(one, parts) != _ids(three, parts):
        raise PluginError(
            f"{names}: a source made anew of its `state_dict` asks for other tasks, so that a resumed run would be "
            f"another one ({setting}): `state_dict` lacks something, such as the state of the source inside"
        )


def _of_plugins(value: Any) -> Iterator[str]:
    """Full names of the plugins' parts in the plain settings of a part, its own and those inside."""
    if isinstance(value, Mapping):
        inside = cast("Mapping[str, Any]", value)
        provider, slash, _ = str(inside.get("name", "")).partition("/")
        if slash and provider != BUILTIN:
            yield str(inside["name"])
        for item in inside.values():
            yield from _of_plugins(item)
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[Any]", value):
            yield from _of_plugins(item)


def _ids(source: TaskSource, parts: Parts) -> list[str]:
    return [spec.id for spec in asked(source, TASKS, parts.family)]


def refuse_forgetful(experiment: Experiment, parts: Parts) -> None:
    """Raise `PluginError` for a plugin's agent that plays otherwise once it is made anew of its state.

    Of one whose luck is no part of its state nothing can be told: it plays otherwise every time.
    """
    agent = parts.learner
    if agent is None or not is_foreign(agent):
        return
    other = build_agent(experiment.agent, parts.problem)
    with border(other, "load_state_dict"):
        other.load_state_dict(copy.deepcopy(state_of(agent)))

    def returns(player: Any) -> Any:
        problem = parts.problem
        return play(player, parts.family, parts.held_out.specs[:TASKS], problem.episodes, problem.device)

    mine = returns(agent)
    if not np.array_equal(mine, returns(agent)) or np.array_equal(mine, theirs := returns(other)):
        return
    came = f"a state of which an agent is made that earns {theirs.sum(0).mean():.4g} a trial"
    expected = f"one that earns {mine.sum(0).mean():.4g}, as the agent itself: evaluation and --resume go by the state"
    raise broken(agent, "state_dict", came, expected)
