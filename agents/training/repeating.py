"""Plugins' parts that would not repeat, found by making them twice: a run would go on, or be judged, as another one."""

import copy
from typing import Any

import numpy as np

from agents.evaluation.play import play
from agents.training.experiment import Experiment, Parts
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

    It is not the source of the run that is asked, but others made as it was.
    """
    own = [item.full_name for item in plan.items if item.kind in ("generators", "curricula")]
    if not (own := [name for name in own if not name.startswith(f"{BUILTIN}/")]):
        return
    one, two, three = (_source(plan.config, parts) for _ in range(3))
    names = ", ".join(dict.fromkeys(own))
    if _ids(one, parts) != _ids(two, parts):
        raise PluginError(
            f"{names}: made twice with the same seed, a source asks for other tasks, so that no run would repeat: draw "
            "from the `seed` that it is built with"
        )
    state = copy.deepcopy(state_of(one))
    with border(three, "load_state_dict"):
        three.load_state_dict(state)
    if _ids(one, parts) != _ids(three, parts):
        raise PluginError(
            f"{names}: a source made anew of its `state_dict` asks for other tasks, so that a resumed run would be "
            "another one: `state_dict` lacks something, such as the state of the source inside"
        )


def _source(experiment: Experiment, parts: Parts) -> TaskSource:
    return build_source(experiment.source, parts.family, seed_sequence(experiment.seed, "source"))


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
