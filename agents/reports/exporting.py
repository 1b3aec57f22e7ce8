"""The trained policy of a run as one ONNX file: memory in, memory out. Needs `taskgen-metarl[onnx]`.

The file holds what `Portable.decide` computes, for any number of trials side by side: what actions are drawn from, not
the draw. A row whose `trial_start` is true begins anew, whatever it is given as memory and previous action and reward.
What is not read is no input. Parts of a carry that grow, such as keys and values of past steps, have the size at which
they grow no more.

Inputs and outputs carry what they mean as their documentation, and the file's metadata say all of it as JSON, under
`KEY`: names, shapes ("batch" first) and types, which output is which input of the next step, how an action is played,
what was exported. Before a file takes its name, ONNX Runtime plays it beside the agent.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from agents.training import checkpoint
from agents.training.provenance import versions
from agents.training.records import read_json
from agents.training.run import RunDirectory
from agents.training.trained import load_trained
from registry import catalogue
from registry.catalogue import Item
from registry.errors import PluginError, TaskError, UserError
from taskgen.borders import border, broken, name_of
from taskgen.interaction.acting import Acting, UniformActions
from taskgen.interaction.agent import Agent, Carry, Portable, Problem, Step, judged
from taskgen.interaction.guard import decided
from taskgen.spaces import action_layout, leaves, numbers_and_choices, pack
from taskgen.taskset import staged

KEY = "taskgen"
"""Of the file's metadata."""
FORMAT, VERSION = "taskgen-policy", 1
MOST_STEPS = 2**14
"""Steps after which a memory that still grows is refused."""
_STEPS, _AGAIN = 24, 11
"""Steps that file and agent play side by side, and the one at which another trial begins."""
_WIDEST = 10.0
"""How far from 0 the numbers lie that are seen then."""
_CLOSE = 1e-4
"""How far the two may differ, absolutely and relatively."""
_MEANINGS = {
    "previous_action": "what was played in the step before, as it was drawn; not read where trial_start",
    "previous_reward": "what the step before was paid; not read where trial_start",
    "episode_start": "true before the first step of every episode",
    "trial_start": "true before the first step of a trial: memory and what came before are then not read",
    "episode_index": "the episode's number in the trial, from 0",
    "descriptor": "the task's descriptor, which this agent is told",
    "logits": "log-probabilities of the choices, those of several choices one after another (see `choices`)",
    "mean": "of the Gaussian that the numbers of the action are drawn from",
    "deviation": "standard deviation of that Gaussian",
    "mean_before_tanh": "of a Gaussian; tanh of what is drawn, from -1..1 to the bounds of the action space, is played",
    "deviation_before_tanh": "standard deviation of that Gaussian",
    "values": "of the actions",
    "action": "what is played: nothing is drawn",
}
"""By name; of what a plugin calls otherwise there is none."""


def export(run: RunDirectory, output: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write the policy of the newest checkpoint of `run` to `output`; returns what the file's metadata say.

    Raises `UserError` where that cannot be, see `write_policy`, for a directory without a run and a run without a
    checkpoint; `CheckpointError` for damage; `TaskError` where `output` is there, unless `overwrite`, or cannot be
    written.
    """
    _refuse_output(output, overwrite=overwrite)
    trained = load_trained(run, "cpu")
    newest = checkpoint.latest(run.checkpoints)
    assert newest is not None
    experiment, family = trained.experiment, trained.parts.family
    facts = {
        "agent": experiment.agent.name,
        "family": {**experiment.family.model_dump(mode="json"), "name": family.name},
        "experiment": experiment.name,
        "seed": experiment.seed,
        "iteration": trained.iteration,
        "steps": trained.steps,
        "checkpoint": checkpoint.digest(newest),
        "commit": read_json(run.path, "provenance.json").get("commit", ""),
    }
    space = family.action_space
    return write_policy(trained.parts.player, trained.parts.problem, output, space, facts=facts, overwrite=overwrite)


def write_policy(
    agent: Agent,
    problem: Problem,
    output: Path,
    action_space: gym.Space[Any] | None = None,
    *,
    facts: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write `agent`, as it is judged, to `output`; returns what the file's metadata say, `facts` among it.

    `action_space` is that of the family, where it is another than agents answer in. Raises `UserError` where the extra
    is missing, for an agent that is not `Portable`, naming those that are, for a memory that grows without end, and
    where the file plays otherwise than the agent; `PluginError` for what a plugin's agent should not give; `TaskError`
    where `output` is there, unless `overwrite`, or cannot be written.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise UserError(f"ONNX is not installed ({error}): pip install 'taskgen-metarl[onnx]'") from error
    _refuse_output(output, overwrite=overwrite)
    player = judged(agent)
    if not isinstance(player, Portable):
        raise UserError(
            f"{name_of(agent)} has no `decide`, the fixed function that a file can hold: agents that adapt between "
            "rounds, draw what lasts for an episode or look things up have none. Of the agents there are, "
            f"{', '.join(_portable())} have one"
        )
    with torch.no_grad():
        policy = _Policy(player, problem)
        model = _traced(policy)
        told = {
            "format": FORMAT,
            "version": VERSION,
            **(facts or {}),
            "versions": {name: found for name, found in versions().items() if name in ("taskgen-metarl", "torch")},
            **_described(policy, model, action_space or problem.action_space),
        }
        onnx.helper.set_model_props(model, {KEY: json.dumps(told)})
        content = model.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        _compare(policy, session, name_of(agent))
    with staged(output, overwrite=overwrite) as file:
        file.write(content)
    return told


def _refuse_output(output: Path, *, overwrite: bool) -> None:
    if output.suffix != ".onnx":
        raise UserError(f"{output}: name the output .onnx")
    if output.exists() and not overwrite:
        raise TaskError(f"{output} exists; name another file or overwrite it with --force (in Python: overwrite=True)")


def _portable() -> list[str]:
    """Names of the agents of the catalogue that can be exported."""

    def fits(item: Item) -> bool:
        try:
            return hasattr(item.load(), "decide")
        except PluginError:  # it is nobody's now
            return False

    return [item.entry.name for item in catalogue().items("agents") if fits(item)]


class _Policy(nn.Module):
    """`decide` from tensors [B, ...] by name to such tensors, a trial's carry among both."""

    def __init__(self, player: Any, problem: Problem) -> None:
        super().__init__()
        self.player, self.problem = player, problem
        self._space = copy.deepcopy(problem.observation_space)
        self._space.seed(0)
        self._actions = Acting(problem.action_space)
        begun, self._form = pytree.tree_flatten(player.begin_trial(1))
        self._begun = [
            first if first.shape == part.shape else torch.zeros_like(part)
            for first, part in zip(begun, self._grown(begun), strict=True)
        ]
        """[1, ...] each part of the carry of a trial that begins."""
        self.memory = [f"memory.{number}" for number in range(len(begun))]
        self.constant: set[str] = set()
        """Parts that the last step has left as they were."""

    def observations(self, rows: int) -> Tensor:
        """Any ones [rows, ...] of the space, their numbers no further than `_WIDEST` from 0."""
        found = torch.as_tensor(np.stack([pack(self._space, self._space.sample()) for _ in range(rows)]))
        return found.clamp(-_WIDEST, _WIDEST) if found.is_floating_point() else found

    def blank(self, rows: int) -> dict[str, Tensor]:
        """All inputs but the memory: zeros, but for what is seen."""
        problem = self.problem
        found = {
            "observation": self.observations(rows),
            "previous_action": self._actions.zeros(rows, torch.device("cpu")),
            "previous_reward": torch.zeros(rows),
            "episode_start": torch.zeros(rows, dtype=torch.bool),
            "trial_start": torch.zeros(rows, dtype=torch.bool),
            "episode_index": torch.zeros(rows, dtype=torch.int64),
        }
        told = {"descriptor": torch.zeros(rows, problem.descriptor_size)} if self.player.needs_descriptor else {}
        return found | told

    def inputs(self, rows: int) -> dict[str, Tensor]:
        """All inputs."""
        begun = zip(self.memory, self._begun, strict=True)
        return self.blank(rows) | {name: part.repeat(rows, *[1] * (part.ndim - 1)) for name, part in begun}

    def forward(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """One step of every row."""
        rows, start = given["observation"].shape[0], given["trial_start"]
        begun = zip(self.memory, self._begun, strict=True)
        carry = [_where(start, part.expand(rows, *part.shape[1:]), given[name]) for name, part in begun]
        seen = {name: given[name] for name in given if name not in self.memory}
        for name in ("previous_action", "previous_reward"):
            seen[name] = _where(start, torch.zeros_like(seen[name]), seen[name])
        seen["episode_start"] = start | seen["episode_start"]
        with border(self.player, "decide"):
            told, after = self.player.decide(pytree.tree_unflatten(carry, self._form), Step(**seen))
        parts = dict(zip(self.memory, pytree.tree_leaves(after), strict=True))
        self.constant.clear()  # in place: torch.export puts attributes back
        self.constant.update(name for name, part in zip(self.memory, carry, strict=True) if parts[name] is part)
        return {**told, **{f"next_{name}": part for name, part in parts.items()}}

    def _grown(self, parts: list[Any]) -> list[Tensor]:
        """The parts of the carry when it grows no more."""
        step = Step(**self.blank(1))
        for _ in range(MOST_STEPS):
            _, carry = decided(self.player, pytree.tree_unflatten(parts, self._form), step)
            after = pytree.tree_leaves(carry)
            if len(after) != len(parts) or not all(isinstance(part, Tensor) for part in after):
                raise broken(self.player, "decide", "a carry of other parts", "tensors as those of begin_trial")
            if all(new.shape == old.shape for new, old in zip(after, parts, strict=True)):
                return after
            parts = after
        raise UserError(
            f"{name_of(self.player)}: after {MOST_STEPS:,} steps its memory still grows, so no file can hold it"
        )


def _where(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """`new` in the rows [B] that are true."""
    return torch.where(rows.view(-1, *(1,) * (old.ndim - 1)), new, old)


def _traced(policy: _Policy) -> Any:
    """The policy as an ONNX model without what nobody reads, and without what would tell of this machine."""
    given = policy.inputs(2)
    shapes = ({name: {0: "batch"} for name in given},)
    sized = ({name: {0: torch.export.Dim("batch")} for name in given},)
    with _quiet():
        answers = list(policy(given))
        program = torch.export.export(policy.eval(), (given,), dynamic_shapes=sized, strict=False)
        found = torch.onnx.export(
            program,
            (given,),
            dynamo=True,
            input_names=list(given),
            output_names=answers,
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert found is not None
    _prune(found.model, {f"next_{name}" for name in policy.constant})
    model = found.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = _meaning(policy, value.name)
    return model


def _prune(model: Any, constant: set[str]) -> None:
    """Remove inputs that are not read, and outputs that are: `constant` and not read, or memory that is not read."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    graph = model.graph
    for node in graph:  # how many rows there are is asked of any input
        if node.op_type == "Shape" and node.inputs[0].is_graph_input() and "end" in node.attributes:
            node.replace_input_with(0, graph.inputs[0])
    for value in [value for value in graph.outputs if value.name in constant and not value.uses()]:
        graph.outputs.remove(value)
    RemoveUnusedNodesPass()(model)
    for value in [value for value in graph.inputs if not value.uses() and not value.is_graph_output()]:
        graph.inputs.remove(value)
    read = {f"next_{value.name}" for value in graph.inputs}
    for value in [value for value in graph.outputs if value.name[:5] == "next_" and value.name not in read]:
        graph.outputs.remove(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says of packages that nobody needs here."""
    levels = {log: log.level for log in map(logging.getLogger, ("torch.onnx", "onnxscript"))}
    for log in levels:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)


def _meaning(policy: _Policy, name: str) -> str:
    if name == "observation":
        return f"an element of {policy.problem.observation_space}, as taskgen.spaces.pack lays it out"
    if name.startswith("memory."):
        return f"next_{name} of the step before; not read where trial_start"
    return "memory of the next step" if name.startswith("next_memory.") else _MEANINGS.get(name, "")


def _described(policy: _Policy, model: Any, action_space: gym.Space[Any]) -> dict[str, Any]:
    """What the metadata say of inputs and outputs."""
    given = policy.inputs(1)
    shown = given | policy(given)
    inputs, outputs = (
        [
            {
                "name": value.name,
                "shape": ["batch", *shown[value.name].shape[1:]],
                "type": str(shown[value.name].dtype).removeprefix("torch."),
                "meaning": value.doc_string,
            }
            for value in values
        ]
        for values in (model.graph.input, model.graph.output)
    )
    names = [one["name"] for one in outputs]
    layout = action_layout(action_space)
    return {
        "inputs": inputs,
        "outputs": outputs,
        "observation": [
            {"part": leaf.path, "space": str(leaf.space), "first": leaf.first, "numbers": leaf.size}
            for leaf in leaves(policy.problem.observation_space)
        ],
        "memory": {name.removeprefix("next_"): name for name in names if name.startswith("next_memory.")},
        "play": "action" if "action" in names else "drawn",
        "choices": list(numbers_and_choices(policy.problem.action_space)[1]),
        "environment": {
            "meaning": "number i of what it is given is number column[i] of the action, plus start[i], then no less "
            "than low[i] and no more than high[i], in `shape`",
            "action_space": str(action_space),
            "column": list(layout.column),
            "start": list(layout.start),
            **{end: [float(x) if np.isfinite(x) else None for x in getattr(layout, end)] for end in ("low", "high")},
            "shape": list(layout.shape),
        },
    }


def _compare(policy: _Policy, session: Any, name: str) -> None:
    """Play the file beside the agent, another trial from step `_AGAIN` on. Raises `UserError` where they differ."""
    problem, rows = policy.problem, 2
    generator = torch.Generator().manual_seed(0)
    actions = UniformActions(problem.action_space)
    given = {one: torch.ones_like(part) for one, part in policy.inputs(rows).items()}  # no memory of a trial's start
    asked, answers = ([value.name for value in values()] for values in (session.get_inputs, session.get_outputs))
    carry: Carry = None
    for time in range(_STEPS):
        begins = time in (0, _AGAIN)
        seen = policy.blank(rows) | {
            "previous_action": actions(rows, generator),
            "previous_reward": torch.randn(rows, generator=generator),
            "episode_start": torch.full((rows,), begins or time % 4 == 0),
            "trial_start": torch.full((rows,), begins),
            "episode_index": torch.full((rows,), time // 4),
        }
        found = dict(zip(answers, session.run(None, {one: (given | seen)[one].numpy() for one in asked}), strict=True))
        given |= {one.removeprefix("next_"): torch.as_tensor(found[one]) for one in answers if one[:5] == "next_"}
        if begins:
            carry = policy.player.begin_trial(rows)
            blank = policy.blank(rows)
            seen |= {one: blank[one] for one in ("previous_action", "previous_reward")}
        told, carry = policy.player.decide(carry, Step(**seen))
        for one, value in told.items():
            if not np.allclose(found[one], value.numpy(), rtol=_CLOSE, atol=_CLOSE, equal_nan=True):
                gap = float(np.abs(found[one] - value.numpy()).max())
                raise UserError(
                    f"{name}: at step {time} the file's {one} is {gap:g} off the agent's; nothing was written"
                )
