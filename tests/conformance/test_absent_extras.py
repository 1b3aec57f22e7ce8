"""What needs an extra that is not installed says which, and how to install it."""

import importlib
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from plugins.families import gymnasium_any
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family, build_source

FAMILY = build_family("bandit")


def made_by_gymnasium(id_):
    return lambda path: build_family("gymnasium", {"id": id_})


def recorded(path):
    from agents.reports.recording import record

    record(None, FAMILY, [], 1, path / "data", name="nobody")


def exported(path):
    from agents.reports.exporting import write_policy

    write_policy(None, None, path / "policy.onnx")


def tracked(name):
    def check(path):
        from agents.training.experiment import load_experiment

        load_experiment("rl2-bandit", [f'trackers=["{name}"]'])

    return check


def mapped(path):
    from taskgen.maps import MapConfig

    MapConfig(map="ray").open_map()


def illuminated(path):
    build_source(
        Part.model_validate({"name": "quality-diversity", "measures": ["probabilities"], "emitter": "cma-me"}),
        FAMILY,
        np.random.SeedSequence(0),
    )


def stable_baselines(path):
    importlib.import_module("taskgen.faces.stable_baselines")


def twinned(path):
    from benchmarks.jax_twins import main

    main([])


WAYS = {
    "box2d": ("Box2D", made_by_gymnasium("LunarLander-v3")),
    "curricula": ("sklearn", lambda path: build_source("alp-gmm", FAMILY, np.random.SeedSequence(0))),
    "metaworld": ("metaworld", lambda path: build_family("metaworld")),
    "minari": ("minari", recorded),
    "minigrid": ("minigrid", made_by_gymnasium("MiniGrid-Surely-Absent-v0")),
    "onnx": ("onnxruntime", exported),
    "qd": ("ribs.emitters.opt", illuminated),
    "ray": ("ray", mapped),
    "robotics": ("gymnasium_robotics", made_by_gymnasium("PointMaze_Absent-v0")),
    "sb3": ("stable_baselines3", stable_baselines),
    "tensorboard": ("tensorboard", tracked("tensorboard")),
    "twins": ("jax", twinned),
    "wandb": ("wandb", tracked("wandb")),
}
"""By extra, the module that is not there and who needs it."""
CLIENTS = {"skrl", "torchrl"}
"""Learners that come to our environments by themselves: no line of the package imports them."""


def test_every_extra_is_tried():
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert settings["project"]["optional-dependencies"].keys() - {"dev", "docs", "mutation"} == WAYS.keys() | CLIENTS


@pytest.mark.parametrize("extra", WAYS)
def test_an_absent_extra_is_named(extra, tmp_path, monkeypatch):
    module, use = WAYS[extra]
    users = ("gymnasium.envs.box2d",)  # which has it still, where another test has played in it
    for loaded in [name for name in sys.modules if name.partition(".")[0] == module or name.startswith(users)]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.delitem(sys.modules, "taskgen.faces.stable_baselines", raising=False)
    gymnasium_any._description.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError) as caught:
        use(tmp_path)
    said = str(caught.value)
    assert f"pip install 'taskgen-metarl[{extra}]'" in said.replace('"', "'")
