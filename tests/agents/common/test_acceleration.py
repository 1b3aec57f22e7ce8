"""Mixed precision changes updates a little; compiled networks compute the same."""

from types import SimpleNamespace

import pytest
import torch

from agents.common.acceleration import compile_networks, mixed_precision
from agents.networks.memoryless import Memoryless, MemorylessConfig
from agents.training.tree import flatten, not_finite
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

CPU = torch.device("cpu")
AGENTS = {
    "rl2": {"network": {"name": "gru", "hidden_size": 16}},
    "rl2-fast-weights": {"name": "rl2", "network": "fast-weights"},
    "ppo": {"hidden": [16], "epochs": 1},
    "maml": {"hidden": [16], "trajectories": 2},
    "promp": {"hidden": [16], "trajectories": 2},
    "reptile": {"hidden": [16], "trajectories": 2},
    "pearl": {"hidden": [16], "encoder_hidden": [16], "warm_up": 0, "updates_per_step": 0.1},
    "sac": {"hidden": [16], "warm_up": 0, "updates_per_step": 0.1},
}


def prepared(name):
    family = build_family("point-navigation", {"horizon": 8})
    problem = problem_of(family, episodes=4, seed=0, device=CPU, updates=4)
    agent = build_agent(Part.model_validate({"name": name, **AGENTS[name]}), problem)
    plan = agent.plan(4)
    return agent, collect(agent, family.batch(4 * plan.slots), [family.spec(seed=s) for s in range(4)], plan=plan)


def parameters(agent):
    return {name: value for name, value in flatten(agent.state_dict())[1].items() if "optimizer" not in name}


@pytest.mark.parametrize("name", list(AGENTS))
def test_updates_in_bfloat16_are_near_those_in_float32(name):
    found = {}
    for precision in ("float32", "bfloat16"):
        agent, trial = prepared(name)
        with mixed_precision(precision, CPU):
            agent.learn(trial)
        assert not list(not_finite(agent.state_dict()))
        found[precision] = parameters(agent)
    full, half = found["float32"], found["bfloat16"]
    assert all(value.dtype == half[place].dtype for place, value in full.items())
    floats = [place for place, value in full.items() if value.dtype == torch.float32]
    assert any(not torch.equal(full[place], half[place]) for place in floats)
    for place in floats:
        torch.testing.assert_close(
            full[place], half[place], rtol=0.1, atol=0.1, msg=lambda text, p=place: f"{p} {text}"
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "rl2-fast-weights", "sac"])
def test_compiled_networks_compute_the_same(name):
    agent, trial = prepared(name)
    other, same = prepared(name)
    compile_networks(other)
    assert list(other.state_dict()) == list(agent.state_dict())
    torch.testing.assert_close(trial.rollout.action, same.rollout.action)
    agent.learn(trial), other.learn(same)
    compiled = parameters(other)
    for place, value in parameters(agent).items():
        torch.testing.assert_close(
            value, compiled[place], rtol=1e-3, atol=1e-4, msg=lambda text, p=place: f"{p} {text}"
        )


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_products_are_made_in_the_precision_that_was_asked(precision, dtype):
    with mixed_precision(precision, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_what_is_compiled(monkeypatch):
    """A module that has a forward of its own is compiled as one; of one that has none, its parts; a network's scan."""
    compiled = []

    def record(self):
        compiled.append(self)

    monkeypatch.setattr(torch.nn.Module, "compile", record)
    monkeypatch.setattr(torch, "compile", lambda function: ("compiled", function))
    whole, part, recurrent = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1), Memoryless(MemorylessConfig(), input_size=1)
    holder = torch.nn.Module()
    holder.part, holder.recurrent = part, recurrent
    sequence = recurrent.sequence
    compile_networks(SimpleNamespace(whole=whole, holder=holder, number=3))
    assert [id(module) for module in compiled] == [id(whole), id(part)]
    assert recurrent.sequence == ("compiled", sequence)
