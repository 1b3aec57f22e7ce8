"""A plugin that breaks its contracts, each part in the way that its setting `fault` names; "" is right."""

from dataclasses import replace

import numpy as np
import torch
from pydantic import Field

from agents.random_policy import RandomPolicy
from registry import Entry, hookimpl
from registry.config import Config
from taskgen.engines.tensor import TensorBatch
from taskgen.engines.toys import SpaceToy, SpaceToyConfig
from taskgen.interaction.agent import CollectionPlan
from taskgen.spec import TaskSpec

NAN = float("nan")


def _raise(*_, **__):
    raise KeyError("goal")


def _signature():
    return None


class Faulty(Config):
    """Settings of a source or agent."""

    fault: str = Field("", description="How the contract is broken.")


class WorldConfig(SpaceToyConfig):
    """Settings of a family."""

    fault: str = Field("", description="How the contract is broken.")


class Batch(TensorBatch):
    """Right but for its fault."""

    def __init__(self, inner, fault):
        self.__dict__.update(inner.__dict__)
        self.fault = fault
        verb, _, how = fault.partition(" ")
        if how in ("raises", "signature") and verb in ("reset", "step", "descriptor", "set_tasks"):
            setattr(self, verb, _raise if how == "raises" else _signature)

    def reset(self, *arguments, **named):
        seen = super().reset(*arguments, **named)
        return {
            "reset none": None,
            "reset list": seen.tolist(),
            "reset array": seen.numpy(),
            "reset shape": seen[:, :1],
            "reset short": seen[:1],
            "reset nan": seen * NAN,
        }.get(self.fault, seen)

    def step(self, action):
        outcome = super().step(action)
        reward, seen = outcome.reward, outcome.observation
        changes = {
            "step reward shape": {"reward": reward[:, None]},
            "step reward scalar": {"reward": reward.sum()},
            "step reward double": {"reward": reward.double()},
            "step reward list": {"reward": reward.tolist()},
            "step reward nan": {"reward": reward * NAN},
            "step reward inf": {"reward": reward + np.inf},
            "step terminated float": {"terminated": reward},
            "step truncated none": {"truncated": None},
            "step observation shape": {"observation": seen[:, :1]},
            "step observation none": {"observation": None},
            "step observation nan": {"observation": seen * NAN},
        }
        if self.fault in changes:
            return replace(outcome, **changes[self.fault])
        plain = {"step none": None, "step tuple": (seen, reward, outcome.terminated, outcome.truncated)}
        return plain.get(self.fault, outcome)

    def descriptor(self):
        told = super().descriptor()
        return {"descriptor none": None, "descriptor flat": told[:, 0], "descriptor short": told[:0]}.get(
            self.fault, told
        )


class World(SpaceToy):
    """A family."""

    def __init__(self, config, *, name):
        super().__init__(config, name=name)
        fault = config.fault
        if fault == "init raises":
            _raise()
        if fault.startswith("no "):
            delattr(self, fault[3:])
        values = {"horizon zero": 0, "horizon text": "3", "space none": None, "space text": "box"}
        if fault in values:
            setattr(self, "horizon" if "horizon" in fault else "action_space", values[fault])
        if fault == "knobs none":
            self.__dict__["context_space"] = {"gain": 1.0}
        if fault == "knobs raise":
            del self.horizon

    def batch(self, slots, device="cpu"):
        fault = self.config.fault
        if fault == "batch none":
            return None
        if fault == "batch raises":
            _raise()
        made = Batch(super().batch(slots, device), fault)
        if fault == "batch no step":
            return _Stepless(made)
        return made


class _Stepless:
    def __init__(self, inner):
        self.slots, self.device, self.family = inner.slots, inner.device, inner.family
        self.set_tasks, self.reset, self.descriptor = inner.set_tasks, inner.reset, inner.descriptor


def abstract(config, *, name):
    """A family without `batch`."""
    return type("Half", (World.__base__.__base__,), {"context_space": None})(config, name=name)


class Source:
    """A source."""

    feedback = True

    def __init__(self, config, *, family, seed):
        self.fault, self.family, self.state = config.fault, family, 0
        self.rng = np.random.Generator(np.random.PCG64(seed))
        if self.fault == "init raises":
            _raise()
        verb, _, how = self.fault.partition(" ")
        if how in ("raises", "signature"):
            setattr(self, verb, _raise if how == "raises" else _signature)
        if self.fault == "feedback none":
            self.feedback = None

    def ask(self, n):
        gains = self.rng.uniform(0.5, 2.0, n)
        specs = [self.family.spec({"gain": float(gain)}, seed=int(self.rng.integers(2**31))) for gain in gains]
        foreign = [TaskSpec("builtin/bandit", spec.context, None, spec.seed) for spec in specs]
        beyond = [replace(spec, context={**spec.context, "gain": 99.0}) for spec in specs]
        bare = [replace(spec, context={"gain": 1.0}) for spec in specs]
        return {
            "ask none": None,
            "ask dicts": [spec.to_dict() for spec in specs],
            "ask strings": [spec.to_json() for spec in specs],
            "ask nones": [None] * n,
            "ask few": specs[:-1],
            "ask nothing": [],
            "ask many": specs + specs,
            "ask generator": (spec for spec in specs),
            "ask one": specs[0],
            "ask foreign": foreign,
            "ask beyond": beyond,
            "ask bare": bare,
        }.get(self.fault, specs)

    def tell(self, results):
        pass

    def state_dict(self):
        return {"state none": None, "state odd": {"a": object()}, "state list": [1]}.get(self.fault, {"n": self.state})

    def load_state_dict(self, state):
        self.state = state["n"]


class Player(RandomPolicy):
    """An agent."""

    def __init__(self, config, problem):
        super().__init__(config, problem)
        self.fault = config.fault
        if self.fault == "init raises":
            _raise()
        verb, _, how = self.fault.partition(" ")
        if how in ("raises", "signature"):
            setattr(self, verb, _raise if how == "raises" else _signature)
        if self.fault == "descriptor text":
            self.needs_descriptor = "no"
        if self.fault == "learn text":
            self.learn = "learn"

    def plan(self, episodes):
        plans = {"plan none": None, "plan other": CollectionPlan(1, episodes + 1), "plan number": episodes}
        return plans.get(self.fault, CollectionPlan(episodes, 1))

    def act(self, carry, step):
        action, carry = super().act(carry, step)
        value = action.value
        changes = {
            "act shape": value[:, None],
            "act short": value[:1],
            "act dtype": value.float(),
            "act bool": value > 0,
            "act outside": value + 7,
            "act below": value - 7,
            "act list": value.tolist(),
            "act array": value.numpy(),
            "act nan": torch.full((len(value), 2), NAN),
            "act inf": torch.full((len(value), 2), float("inf")),
        }
        if self.fault in changes:
            return replace(action, value=changes[self.fault]), carry
        return {"act none": None, "act action": action, "act tensor": (value, carry)}.get(self.fault, (action, carry))

    def learn(self, trial):
        return {
            "learn none": None,
            "learn list": [1.0],
            "learn tensor": {"losses/x": torch.zeros(())},
            "learn names": {1: 1.0},
            "learn strings": {"losses/x": "0"},
        }.get(self.fault, {"losses/x": 0.0})

    def state_dict(self):
        odd = {"state none": None, "state odd": {"a": {"b": object()}}, "state tuple": ()}
        return odd.get(self.fault, super().state_dict())


class Half:
    """Lacks most of an agent."""

    needs_descriptor = False

    def __init__(self, config, problem):
        pass

    plan = begin_trial = adapt = state_dict = load_state_dict = _signature


class Mute:
    """Lacks part of a source."""

    feedback = False

    def __init__(self, config, *, family, seed):
        pass

    ask = load_state_dict = _signature


def nothing(*_, **__):
    """Makes no part at all."""


def narrow(config):
    """Takes less than it is given."""


ODD = ("mute", "Mute"), ("nothing", "nothing"), ("narrow", "narrow")


@hookimpl
def register_task_families():
    """One that can break, one that always does."""
    made = Entry("world", "broken_parts:World", "A world.", "broken_parts:WorldConfig")
    return [made, *(Entry(name, f"broken_parts:{target}", "Odd.") for name, target in (*ODD[1:], ("half", "abstract")))]


@hookimpl
def register_task_generators():
    """As above."""
    made = Entry("source", "broken_parts:Source", "A source.", "broken_parts:Faulty")
    return [made, *(Entry(name, f"broken_parts:{target}", "Odd.") for name, target in ODD)]


@hookimpl
def register_agents():
    """As above."""
    made = Entry("player", "broken_parts:Player", "A player.", "broken_parts:Faulty")
    return [made, *(Entry(name, f"broken_parts:{target}", "Odd.") for name, target in (("half", "Half"), *ODD[1:]))]
