"""What agents and families give each other in `collect`, looked at where it passes. See `taskgen.borders`.

Shapes and types are compared at every step, which costs the host a few comparisons; values once a round, by one sum
on the device, and only where that is not finite number by number. Axes: T time, B slots.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from registry.errors import UserError, brief
from taskgen.batch import TaskBatch, Transition
from taskgen.borders import border, broken, checked_metrics, name_of
from taskgen.interaction.acting import Acting
from taskgen.interaction.agent import (
    Action,
    Agent,
    Believes,
    Carry,
    CollectionPlan,
    Critic,
    Decoupled,
    Demanding,
    Metrics,
    Portable,
    Rollout,
    Step,
    Trial,
)
from taskgen.interaction.observing import Observing
from taskgen.spaces import is_whole, numbers_and_choices, row_shape
from taskgen.spec import TaskSpec


class Guard:
    """Of one agent at play with one batch."""

    def __init__(self, agent: Agent, batch: TaskBatch, acting: Acting, specs: Sequence[TaskSpec]) -> None:
        self._agent, self._batch, self._acting, self._specs = agent, batch, acting, specs
        slots = batch.slots
        self._answer = torch.Size((slots, *acting.row))
        self._row = torch.Size((slots, *row_shape(batch.family.observation_space)))
        self._each = torch.Size((slots,))
        numbers, counts = numbers_and_choices(acting.played)
        self._first = 0 if numbers is None else numbers.shape[0]
        self._counts = counts
        self._most = torch.tensor(counts, device=batch.device) if len(counts) > 1 else None
        self.seen = Observing(batch)
        self._whole = is_whole(batch.family.observation_space)

    def observed(self, observation: object, call: str) -> Tensor:
        """What `call` gave to see. Raises `PluginError` unless it is a tensor of a row for every slot."""
        family = self._batch.family
        if not isinstance(observation, Tensor):
            came = f"{brief(observation)}, a {type(observation).__name__}"
            raise broken(family, call, came, f"a tensor {list(self._row)} of observations")
        if observation.shape != self._row:
            raise broken(family, call, f"observations {list(observation.shape)}", f"{list(self._row)}")
        if observation.is_floating_point() == self._whole or observation.dtype == torch.bool:
            expected = f"{'whole numbers' if self._whole else 'floats'}, in {family.observation_space}"
            raise broken(family, call, f"observations of {observation.dtype}", expected)
        return observation

    def told(self, descriptor: object) -> Tensor:
        """What `descriptor` gave; see `described`."""
        return described(self._batch, descriptor)

    def acted(self, given: object) -> tuple[Action, Carry]:
        """What `act` gave. Raises `PluginError` unless it is an `Action` of a row for every slot and a carry."""
        pair: Any = given
        if not isinstance(given, tuple) or len(pair) != 2 or not isinstance(pair[0], Action):
            raise broken(self._agent, "act", f"{brief(pair)}, a {type(pair).__name__}", "(Action, carry)")
        action: Action = pair[0]
        value: Any = action.value
        if not isinstance(value, Tensor):
            came = f"an action {brief(value)}, a {type(value).__name__}"
            raise broken(self._agent, "act", came, f"a tensor {list(self._answer)}")
        if value.shape != self._answer:
            space = self._acting.played
            raise broken(self._agent, "act", f"actions {list(value.shape)}", f"{list(self._answer)}, in {space}")
        if value.dtype.is_floating_point != self._acting.dtype.is_floating_point or value.dtype == torch.bool:
            raise broken(
                self._agent, "act", f"actions of {value.dtype}", f"{self._acting.dtype}, in {self._acting.played}"
            )
        return action, pair[1]

    def stepped(self, outcome: object) -> Transition:
        """What `step` gave. Raises `PluginError` unless it is a `Transition` in which every slot has its own."""
        family = self._batch.family
        if not isinstance(outcome, Transition):
            raise broken(family, "step", f"{brief(outcome)}, a {type(outcome).__name__}", "a Transition")
        self.observed(outcome.observation, "step")
        for name, kind in _KINDS:
            value: Any = getattr(outcome, name)
            if not isinstance(value, Tensor):
                raise broken(family, "step", f"{name} = {brief(value)}, a {type(value).__name__}", "a tensor [B]")
            if value.shape != self._each or value.dtype != kind:
                came = f"{name} {list(value.shape)} {value.dtype}"
                raise broken(family, "step", came, f"{list(self._each)} {kind}")
        done: Any = outcome.success
        tells = bool(getattr(family, "tells_success", False))  # one that is no `TaskFamily` may not say
        if isinstance(done, Tensor):
            fits, came = done.shape == self._each and done.dtype == torch.bool, f"{list(done.shape)} {done.dtype}"
        else:
            fits, came = done is None, f"= {brief(done)}"
        if not fits or (done is None) == tells:
            expected = f"{list(self._each)} {torch.bool}" if tells else "None"
            raise broken(family, "step", f"success {came}", f"{expected}, its tells_success being {tells}")
        return outcome

    def settle(self, rows: Mapping[str, Tensor]) -> None:
        """Raise `PluginError` where a valid step of a round, [T, B, ...] by name, is not finite or out of its space.

        Four host syncs. What came first is blamed: what was seen, then what was done, then what it led to.
        """
        floats = [(name, rows[name]) for name in _IN_ORDER if name in rows and rows[name].is_floating_point()]
        if bool(torch.stack([values.sum(dtype=torch.float64) for _, values in floats]).isfinite().all()):
            self.refuse_choices(rows["action"].flatten(0, 1))
            self.seen.look(rows["observation"], "reset", rows["valid"])
            self.seen.look(rows["next_observation"], "step", rows["valid"])
            return
        valid = rows["valid"]
        first: tuple[int, int, str] | None = None
        for name, values in floats:
            where = ~values.isfinite().view(*valid.shape, -1).all(2) & valid
            if bool(where.any()):
                time, slot = (int(place) for place in where.nonzero()[0])
                first = min(first or (time, slot, name), (time, slot, name), key=lambda one: one[0])
        if first is not None:
            time, slot, name = first
            raise self._not_finite(name, rows, time, slot)

    def _not_finite(self, name: str, rows: Mapping[str, Tensor], time: int, slot: int) -> UserError:
        value = rows[name][time, slot]
        spec = self._specs[slot * len(self._specs) // self._batch.slots]
        number = value.flatten()[int((~value.flatten().isfinite()).nonzero()[0])].item()
        where = f"task {spec.id}, episode {int(rows['episode_index'][time, slot])}, step {time} of the round"
        if name == "action":
            return UserError(
                f"{name_of(self._agent)}: act gave {number} in {where}, expected finite numbers; an agent that has "
                "diverged does so: train anew with a lower learning rate or smaller steps"
            )
        call = {"observation": "reset", "next_observation": "step"}.get(name, "step")
        what = "observation" if "observation" in name else name
        return broken(self._batch.family, call, f"{what} {number} in {where}", "finite numbers")

    def refuse_choices(self, value: Tensor) -> None:
        """Raise `PluginError` where one of the actions [N, ...] chooses what there is not. Host syncs.

        Once a round, and where a family has failed at what it was given.
        """
        if not self._counts:
            return
        chosen = value[:, self._first :] if value.ndim > 1 else value
        if self._most is None and chosen.numel():
            least, most = cast("list[int]", torch.stack(torch.aminmax(chosen)).tolist())  # pyright: ignore[reportUnknownMemberType]
            if 0 <= least <= most < self._counts[0]:
                return
        outside = (chosen < 0) | (chosen >= (self._counts[0] if self._most is None else self._most))
        if bool(outside.any()):
            odd = cast("list[Any]", value[outside.view(len(value), -1).any(1)][0].tolist())  # pyright: ignore[reportUnknownMemberType]
            raise broken(self._agent, "act", f"the action {odd}", f"one in {self._acting.played}")


_KINDS = (("reward", torch.float32), ("terminated", torch.bool), ("truncated", torch.bool))
_IN_ORDER = ("observation", "action", "reward", "family_reward", "next_observation")


def described(batch: TaskBatch, descriptor: object) -> Tensor:
    """What `batch.descriptor` gave. Raises `PluginError` unless it is a finite float tensor [B, D]. A host sync."""
    expected = f"a finite float tensor [{batch.slots}, D]"
    if not isinstance(descriptor, Tensor):
        raise broken(batch.family, "descriptor", f"{brief(descriptor)}, a {type(descriptor).__name__}", expected)
    if descriptor.ndim != 2 or len(descriptor) != batch.slots or not descriptor.is_floating_point():
        raise broken(batch.family, "descriptor", f"a Tensor {list(descriptor.shape)} {descriptor.dtype}", expected)
    if not bool(descriptor.isfinite().all()):
        raise broken(batch.family, "descriptor", "what is not finite", expected)
    return descriptor


def planned(agent: Agent, episodes: int) -> CollectionPlan:
    """`agent.plan(episodes)`. Raises `PluginError` unless it is a plan of so many episodes."""
    call = f"plan({episodes})"
    with border(agent, call):
        plan = cast(object, agent.plan(episodes))
    if not isinstance(plan, CollectionPlan):
        raise broken(agent, call, f"{brief(plan)}, a {type(plan).__name__}", "a CollectionPlan")
    if plan.episodes != episodes:
        came = f"{plan.rounds} rounds of {plan.episodes_per_round} episodes"
        raise broken(agent, call, came, f"{episodes} episodes in all")
    return plan


def learned_from(agent: Agent, trial: Trial) -> Metrics:
    """`agent.learn(trial)`. Raises `PluginError` unless it gives numbers by name."""
    with border(agent, "learn"):
        return checked_metrics(agent, "learn", agent.learn(trial))


def exploration_of(agent: Agent) -> int:
    """Episodes at the start of a trial in which `agent` explores and does not mean to earn; 0 where it says nothing.

    Raises `PluginError` for what is no number of episodes.
    """
    found = cast(object, agent.exploration_episodes) if isinstance(agent, Decoupled) else 0
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise broken(agent, "exploration_episodes", f"{brief(found)}, a {type(found).__name__}", "a number of episodes")
    return found


def least_episodes(agent: Agent) -> tuple[int, str]:
    """Fewest episodes of a trial in which `agent` adapts, and why; 1 where it says nothing.

    Raises `PluginError` unless it gives a number of episodes and a text.
    """
    if not isinstance(agent, Demanding):
        return 1, ""
    with border(agent, "least_episodes"):
        found: Any = agent.least_episodes()
    match found:
        case (int() as least, str() as why) if least >= 1 and isinstance(found, tuple):
            return least, why
        case _:
            raise broken(agent, "least_episodes", brief(found), "a number of episodes and, in words, why")


def belief_variance(agent: Believes, rollout: Rollout) -> Tensor:
    """`agent.belief_variance(rollout)`. Raises `PluginError` unless it is a float for every step."""
    with border(agent, "belief_variance"):
        found = cast(object, agent.belief_variance(rollout))
    return _by_step(agent, "belief_variance", found, rollout)


def estimates(agent: Critic, rollout: Rollout, trace: float | None = None) -> tuple[Tensor, Tensor]:
    """`agent.estimates(rollout, trace)`. Raises `PluginError` unless it is two floats for every step."""
    with border(agent, "estimates"):
        found: Any = agent.estimates(rollout, trace)
    pair: Any = found
    if not isinstance(found, tuple) or len(pair) != 2:
        raise broken(agent, "estimates", f"{brief(pair)}, a {type(pair).__name__}", "(values, advantages)")
    values, advantages = pair
    return _by_step(agent, "estimates", values, rollout), _by_step(agent, "estimates", advantages, rollout)


def decided(agent: Portable, carry: Carry, step: Step) -> tuple[dict[str, Tensor], Carry]:
    """`agent.decide(carry, step)`. Raises `PluginError` unless it is tensors by name, a row a trial, and a carry."""
    with border(agent, "decide"):
        found: Any = agent.decide(carry, step)
    rows, pair = step.trial_start.shape[0], found
    if isinstance(found, tuple) and len(pair) == 2 and isinstance(pair[0], Mapping):
        told = cast("Mapping[str, object]", pair[0])
        if told and all(_has_rows(value, rows) for value in told.values()):
            return dict(cast("Mapping[str, Tensor]", told)), pair[1]
    expected = f"({{name: a tensor [{rows}, ...]}}, carry)"
    raise broken(agent, "decide", f"{brief(pair)}, a {type(pair).__name__}", expected)


def _has_rows(value: object, rows: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == rows


def _by_step(agent: object, call: str, found: object, rollout: Rollout) -> Tensor:
    expected = f"a float tensor {list(rollout.valid.shape)}"
    if not isinstance(found, Tensor):
        raise broken(agent, call, f"{brief(found)}, a {type(found).__name__}", expected)
    if found.shape != rollout.valid.shape or not found.is_floating_point():
        raise broken(agent, call, f"a Tensor {list(found.shape)} {found.dtype}", expected)
    return found
