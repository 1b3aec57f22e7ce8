"""A plugin that breaks its contracts, each part in the way that its setting `fault` names; "" is right.

Longer than most files here: a broken part of every kind.
"""

from dataclasses import replace

import numpy as np
import torch
from pydantic import Field

from agents.epg import EPG, EPGConfig
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


class PlayerConfig(Faulty):
    """Settings of an agent."""

    rate: float = Field(0.1, description="What a population may evolve.")


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

    def mutate(self, context, rng):
        return {**context, "gain": float(rng.uniform(0.5, 2.0))}


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
        self.fault, self.family = config.fault, family
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
        return {"state none": None, "state odd": {"a": object()}, "state list": [1]}.get(
            self.fault, {"rng": self.rng.bit_generator.state}
        )

    def load_state_dict(self, state):
        self.rng.bit_generator.state = state["rng"]


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


class EvolverConfig(Faulty, EPGConfig):
    """Settings of an agent with a loss that evolves."""


class Evolver(EPG):
    """An agent of the runner `epg`."""

    def __init__(self, config, problem):
        super().__init__(config, problem)
        verb, _, how = config.fault.partition(" ")
        verb = {"state": "state_dict"}.get(verb, verb)
        if verb:
            setattr(self, verb, _raise if how == "raises" else lambda *_: None)


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
    evolver = Entry("evolver", "broken_parts:Evolver", "An evolver.", "broken_parts:EvolverConfig")
    made = Entry("player", "broken_parts:Player", "A player.", "broken_parts:PlayerConfig")
    odd = [Entry(name, f"broken_parts:{target}", "Odd.") for name, target in (("half", "Half"), *ODD[1:])]
    return [made, evolver, *odd]


def experiment(family="", source="", agent="", **more):
    return {
        "family": {"name": "world", "fault": family, **more},
        "source": {"name": "broken_parts/source", "fault": source},
        "agent": {"name": "player", "fault": agent},
        "training": {"iterations": 2, "tasks": 4, "episodes": 2, "checkpoint_every": 1, "evaluate_every": 0},
        "evaluation": {"tasks": 4, "final_tasks": 4, "tail": 0.0, "players": [], "same_tasks": True},
    }


FAMILY = {
    "init raises": r"broken_parts:World\(config, name=\) raised KeyError: 'goal'",
    "no action_space": "sets no action_space",
    "no observation_space": "sets no observation_space",
    "no horizon": "sets no horizon",
    "horizon zero": "horizon is 0, expected a whole number of steps",
    "horizon text": "horizon is '3', expected a whole number",
    "space none": "has the action space None: that is a NoneType",
    "space text": "has the action space box: that is a str",
    "knobs none": r"context_space gave \{'gain': 1.0\}, a dict, expected a ContextSpace",
    "batch none": "NoneType has no slots, no device, no family",
    "batch raises": r"batch\(1\) raised KeyError: 'goal' \(broken_parts.py, line \d+\)",
    "batch no step": "_Stepless has no step, which a taskgen.batch.TaskBatch has",
    "set_tasks raises": r"set_tasks raised KeyError: 'goal' \(broken_parts.py",
    "set_tasks signature": r"set_tasks raised TypeError: _signature\(\) takes 0 positional arguments",
    "reset none": r"reset gave None, a NoneType, expected a tensor \[4, 2\]",
    "reset list": r"reset gave \[\[.*a list, expected a tensor \[4, 2\]",
    "reset array": "reset gave array.*a ndarray, expected a tensor",
    "reset shape": r"reset gave observations \[4, 1\], expected \[4, 2\]",
    "reset short": r"reset gave observations \[1, 2\], expected \[4, 2\]",
    "reset nan": r"reset gave observation nan in task [0-9a-f]+, episode 0, step 0",
    "reset raises": "reset raised KeyError: 'goal' ",
    "reset signature": "reset raised TypeError",
    "step none": "step gave None, a NoneType, expected a Transition",
    "step tuple": r"step gave \(.*a tuple, expected a Transition",
    "step reward shape": r"step gave reward \[4, 1\] torch.float32, expected \[4\] torch.float32",
    "step reward scalar": r"step gave reward \[\] torch.float32, expected \[4\]",
    "step reward double": r"step gave reward \[4\] torch.float64, expected \[4\] torch.float32",
    "step reward list": r"step gave reward = \[.*, a list, expected a tensor \[B\]",
    "step reward nan": "step gave reward nan in task .* step 0 of the round, expected finite",
    "step reward inf": "step gave reward inf in task",
    "step terminated float": r"step gave terminated \[4\] torch.float32, expected \[4\] torch.bool",
    "step truncated none": "step gave truncated = None, a NoneType",
    "step observation shape": r"step gave observations \[4, 1\], expected \[4, 2\]",
    "step observation none": "step gave None, a NoneType, expected a tensor",
    "step observation nan": "step gave observation nan in task",
    "step raises": r"step raised KeyError: 'goal' \(broken_parts.py",
    "step signature": "step raised TypeError",
    "descriptor none": "descriptor gave None, a NoneType, expected a finite float tensor",
    "descriptor flat": r"descriptor gave a Tensor \[1\] torch.float32, expected a finite float tensor \[1, D\]",
    "descriptor short": r"descriptor gave a Tensor \[0, 1\]",
    "descriptor raises": "descriptor raised KeyError",
}
SOURCE = {
    "init raises": r"broken_parts:Source\(config, family=, seed=\) raised KeyError: 'goal'",
    "feedback none": "feedback is None, a NoneType, expected a bool",
    "ask none": r"ask\(1\) gave None, a NoneType, expected a list of 1 TaskSpec",
    "ask dicts": r"ask\(1\) gave \{.*a dict, as task 0, expected a list of 1 TaskSpec",
    "ask strings": "a str, as task 0",
    "ask nones": "gave None, a NoneType, as task 0",
    "ask few": r"ask\(1\) gave 0 tasks, expected exactly 1",
    "ask nothing": r"ask\(1\) gave 0 tasks, expected exactly 1",
    "ask many": r"ask\(1\) gave 2 tasks, expected exactly 1",
    "ask generator": "a generator, expected a list",
    "ask one": "a TaskSpec, expected a list",
    "ask foreign": r"a task that is not valid, number 0 \(task [0-9a-f]+ belongs to family builtin/bandit",
    "ask beyond": "a task that is not valid, number 0 .*gain = 99.0",
    "ask bare": "a task that is not valid, number 0 .*the context lacks 'acted'",
    "ask raises": r"ask\(1\) raised KeyError: 'goal' \(broken_parts.py, line \d+\)",
    "ask signature": r"ask\(1\) raised TypeError: _signature\(\) takes 0 positional arguments but 1 was given",
    "tell raises": "tell of 4 results raised KeyError: 'goal'",
    "tell signature": "tell of 4 results raised TypeError",
    "state none": "state_dict gave None, a NoneType, expected a dict",
    "state list": r"state_dict gave \[1\], a list, expected a dict",
    "state odd": r"state_dict gave /a = <object.*, a object, expected tensors, arrays and JSON values",
    "state_dict raises": "state_dict raised KeyError",
}
AGENT = {
    "init raises": r"broken_parts:Player\(config, problem=\) raised KeyError: 'goal'",
    "descriptor text": "needs_descriptor is 'no', a str, expected a bool",
    "learn text": "learn is 'learn', a str, expected a method",
    "plan none": r"plan\(2\) gave None, a NoneType, expected a CollectionPlan",
    "plan number": r"plan\(2\) gave 2, a int, expected a CollectionPlan",
    "plan other": r"plan\(2\) gave 1 rounds of 3 episodes, expected 2 episodes in all",
    "plan raises": r"plan\(2\) raised KeyError",
    "begin_trial raises": r"begin_trial\(4\) raised KeyError",
    "begin_trial signature": r"begin_trial\(4\) raised TypeError",
    "act none": r"act gave None, a NoneType, expected \(Action, carry\)",
    "act action": r"act gave Action.*expected \(Action, carry\)",
    "act tensor": r"act gave \(tensor.*expected \(Action, carry\)",
    "act list": r"act gave an action \[.*a list, expected a tensor \[4\]",
    "act array": "act gave an action array.*a ndarray, expected a tensor",
    "act shape": r"act gave actions \[4, 1\], expected \[4\], in Discrete\(3\)",
    "act short": r"act gave actions \[1\], expected \[4\]",
    "act dtype": "act gave actions of torch.float32, expected torch.int64",
    "act bool": "act gave actions of torch.bool, expected torch.int64",
    "act outside": r"act gave the action [789], expected one in Discrete\(3\)",
    "act below": r"act gave the action -[567], expected one in Discrete\(3\)",
    "act raises": r"act raised KeyError: 'goal' \(broken_parts.py",
    "act signature": "act raised TypeError",
    "adapt raises": "adapt raised KeyError",
    "learn none": "learn gave None, a NoneType, expected a dict of numbers by name",
    "learn list": r"learn gave \[1.0\], a list, expected a dict",
    "learn tensor": r"learn gave losses/x = tensor\(0.\), a Tensor, expected numbers: say float",
    "learn strings": "learn gave losses/x = '0', a str, expected numbers",
    "learn names": "learn gave the key 1, expected names that are strings",
    "learn raises": "learn raised KeyError",
    "learn signature": "learn raised TypeError",
    "state none": "state_dict gave None",
    "state tuple": r"state_dict gave \(\), a tuple",
    "state odd": r"state_dict gave /a/b = <object.*, a object, expected tensors",
    "state_dict raises": "state_dict raised KeyError",
}
NUMBERS = {f"act {value}": f"act gave {value} in task.*lower learning rate" for value in ("nan", "inf")}
"""Of an agent whose actions are numbers."""
MISSING = [
    ("agent", "broken_parts/half", "Half has no act, no learn, which a taskgen.interaction.agent.Agent has"),
    ("agent", "broken_parts/nothing", "NoneType has no needs_descriptor, no plan"),
    (
        "agent",
        "broken_parts/narrow",
        r"broken_parts:narrow\(config, problem=\) raised TypeError: narrow\(\) got an un",
    ),
    ("source", "broken_parts/mute", "Mute has no tell, no state_dict, which a taskgen.source.TaskSource has"),
    ("source", "broken_parts/nothing", "NoneType has no feedback"),
    ("source", "broken_parts/narrow", r"narrow\(config, family=, seed=\) raised TypeError"),
    ("family", "broken_parts/half", "Can't instantiate abstract class Half with abstract method batch"),
    ("family", "broken_parts/nothing", "is not a TaskFamily"),
    ("family", "broken_parts/narrow", r"narrow\(config, name=\) raised TypeError"),
]
"""Kind, name and what is said of parts that lack something."""


def cases():
    """Every way to break: its name, an experiment that has it, the entry that is told of, and what is said (regex)."""
    for kind, entry, faults in (("family", "world", FAMILY), ("source", "source", SOURCE), ("agent", "player", AGENT)):
        for fault, said in faults.items():
            yield f"{kind}: {fault}", experiment(**{kind: fault}), entry, said
    for fault, said in NUMBERS.items():
        yield f"agent: {fault}", experiment(agent=fault, acted="box"), "player", said
    for kind, name, said in MISSING:
        yield f"{kind}: {name}", experiment() | {kind: {"name": name}}, name.partition("/")[2], said
