"""What an engine and optional parts are given by a plugin, in every wrong type and number: told by entry and hook."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import registry
from registry.config import Part
from registry.discovery import FILES_VARIABLE
from registry.errors import PluginError
from taskgen.borders import remember
from taskgen.build import build_family, build_source
from taskgen.engines.toys import SpaceToy, SpaceToyConfig
from taskgen.family import Goal
from taskgen.hooks import METHODS, VALUES, watched
from taskgen.interaction import guard
from taskgen.interaction.agent import CollectionPlan
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.score import score
from taskgen.source import Elites, Length
from taskgen.split import Split

TASKS = 4
ODD = {"none": None, "text": "text", "number": 3, "list": [], "dict": {}, "tuple": (), "object": object()}


class Mine:
    """What a catalogue says of an entry of a plugin."""

    full_name, provider = "mine/world", "mine"

    class entry:
        target = "mine_world:World"


def wrong(right):
    """Everything that is not `right`, by name: other types, shapes and numbers of values."""
    found = {name: value for name, value in ODD.items() if type(value) is not type(right)}
    if isinstance(right, torch.Tensor | np.ndarray):
        found |= {"one axis more": right[None], "as list": right.tolist()}
        found |= {"short": right[:-1], "one row": right[:1]} if len(right) > 1 else {}
        other = right.numpy() if isinstance(right, torch.Tensor) else torch.from_numpy(right.copy())
        found["other library"] = other
    if isinstance(right, tuple):
        found |= {"one less": right[:-1], "one more": (*right, right[0]), "as list": list(right)}
        found |= {
            f"{i}: {name}": (*right[:i], bad, *right[i + 1 :])
            for i in range(len(right))
            for name, bad in wrong(right[i]).items()
        }
    if isinstance(right, dict):
        key = next(iter(right))
        found |= {f"{key}: {name}": {**right, key: bad} for name, bad in wrong(right[key]).items()}
        found["other names"] = {f"{name}-": value for name, value in right.items()}
    return found


def play(family, agent="rl2"):
    problem = problem_of(family, episodes=2, seed=0, device=torch.device("cpu"))
    player = build_agent(Part(name=agent), problem)
    specs = [family.spec(seed=seed) for seed in range(TASKS)]
    return collect(player, family.batch(TASKS), specs, plan=player.plan(2))


def swept(name, settings, engine, hook, kind=None):
    """Play a family that gives the wrong value `kind` in place of what `hook` of its `engine` gives; the kinds seen."""
    family = build_family(name, settings)
    family = type(family)(family.config, name="mine/world")  # not one that others are given too
    remember(family, Mine)
    made, kinds = family.batch, {}

    def batch(slots, device="cpu"):
        batch = made(slots, device)
        law = getattr(batch, engine)  # maybe that of an earlier batch, with what was put before its hook
        own = getattr(type(law), hook).__get__(law)

        def given(*arguments):
            right = own(*arguments)
            kinds.update(dict.fromkeys(wrong(right)))
            return right if kind is None else wrong(right).get(kind, right)

        setattr(law, hook, given)
        return batch

    family.batch = batch
    play(family)
    return kinds


def check_all_told(name, engine, hook):
    kinds = swept(name, {"horizon": 3}, engine, hook)
    assert len(kinds) >= 8
    for kind in kinds:
        with pytest.raises(PluginError) as caught:
            swept(name, {"horizon": 3}, engine, hook, kind)
        message = str(caught.value)
        assert message.startswith("mine/world: "), (kind, message)
        assert "\n" not in message, (kind, message)


@pytest.mark.parametrize("hook", ["tables", "initial", "observe", "step", "descriptor"])
def test_dynamics(hook):
    check_all_told("point-navigation", "_dynamics", hook)


@pytest.mark.parametrize("hook", ["tables", "edits", "initial", "place", "observe", "outcome", "descriptor"])
def test_robots(hook):
    check_all_told("hopper", "_robot", hook)


@pytest.mark.parametrize("count", [2, 4])
def test_a_step_of_another_number_of_values_says_how_many(count):
    family = SpaceToy(SpaceToyConfig(), name="mine/world")
    remember(family, Mine)
    batch = family.batch(1)
    batch.set_tasks([family.spec()])
    batch.reset()
    batch.dynamics.step = lambda *_: tuple(torch.zeros(1, 2) for _ in range(count))
    expected = rf"Dynamics.step gave .*a tuple of {count}, expected three values: the next state, reward"
    with pytest.raises(PluginError, match=expected):
        batch.step(torch.zeros(1, dtype=torch.int64))


PICTURE = np.zeros((4, 5, 3), np.uint8)
POOL = {
    "none": None,
    "text": "text",
    "number": 3,
    "nan": float("nan"),
    "empty list": [],
    "bools": [True, False],
    "one bool": [True],
    "numbers": [1, 2],
    "tuple": (0, 1),
    "dict": {"tasks/x": 1.0},
    "tasks by title": {"hardest": []},
    "object": object(),
    "picture": PICTURE,
    "picture of floats": PICTURE / 255,
    "rows": PICTURE[0],
    "features": np.zeros(2),
    "features that are not": np.full(2, np.nan),
    "goal": Goal((1.0,), (0,)),
    "split": Split("gain", frozenset({0}), frozenset({1})),
    "length": Length(2),
    "names": ("success",),
    "ranges": {"walls": (0.0, 9.0)},
    "ranges of one end": {"walls": (0.0,)},
    "elites": {"elites": Elites({"walls": (0.0, 9.0)}, 3, ((1,),), (0.5,))},
}
FIT = {
    "validate": {"none"},
    "render": {"text", "picture"},
    "frame": {"picture"},
    "mutate": {"dict", "tasks by title", "ranges", "ranges of one end", "elites"},
    "measure": {"features"},
    "measures": {"ranges"},
    "descriptor": {"features"},
    "goal": {"goal"},
    "figures": {"dict"},
    "optimal_return": {"number"},
    "learns_from": {"bools"},
    "metrics": {"dict"},
    "highlights": {"tasks by title"},
    "elites": {"elites"},
    "updates": {"number"},
    "lineage": {"empty list"},
    "cue": {"tuple", "empty list", "numbers", "bools", "one bool"},
    "split": {"none", "split"},
    "solved_return": {"number"},
    "scores": {"names", "empty list", "dict", "tasks by title", "ranges", "ranges of one end", "elites"},
    "length": {"length"},
}
"""By hook, what of `POOL` it may give."""


@pytest.fixture
def parts(plugin_environment, monkeypatch):
    monkeypatch.setenv(FILES_VARIABLE, str(Path(__file__).parents[1] / "toys" / "broken_parts.py"))
    return sys.modules[registry.catalogue().get("families", "broken_parts/world").load().__module__]


def test_every_hook_is_swept():
    assert {*METHODS, *VALUES} - {"design"} == FIT.keys()


@pytest.mark.parametrize("hook", FIT)
def test_hooks(hook, parts, monkeypatch):
    of_source = hook in ("learns_from", "metrics", "highlights", "elites", "updates", "lineage", "scores", "length")

    def given(value):
        kind = parts.Source if of_source else parts.World
        monkeypatch.setattr(kind, hook, value if hook in VALUES else lambda *_: value, raising=False)
        part = build_family("broken_parts/world", {})
        part = build_source("broken_parts/source", part, 0) if of_source else part
        return getattr(part, hook) if hook in VALUES else getattr(part, hook)(["one", "other"])

    for name, value in POOL.items():
        if name in FIT[hook]:
            assert given(value) is value
            continue
        with pytest.raises(PluginError, match=rf"broken_parts/(world|source): {hook} gave .*, expected "):
            given(value)


def test_hooks_that_raise_say_where(parts, monkeypatch):
    monkeypatch.setattr(parts.World, "mutate", parts._raise, raising=False)
    with pytest.raises(
        PluginError, match=r"broken_parts/world: mutate raised KeyError: 'goal' \(broken_parts.py, line"
    ):
        build_family("broken_parts/world", {}).mutate({}, None)


def test_built_in_parts_are_left_as_they_are():
    family = build_family("maze", {})
    assert "mutate" not in vars(watched(family))


RIGHT = {
    "exploration_episodes": 1,
    "least_episodes": (2, "two rounds"),
    "belief_variance": torch.ones(3, TASKS),
    "estimates": (torch.zeros(3, TASKS), torch.zeros(3, TASKS)),
}
"""What optional parts of agents may give, of rounds of three steps."""


@pytest.fixture
def player(parts):
    family = build_family("broken_parts/world", {})
    return build_agent(Part(name="broken_parts/player"), problem_of(family, episodes=2, seed=0, device="cpu")), family


@pytest.mark.parametrize("hook", RIGHT)
def test_optional_parts_of_agents(hook, player, monkeypatch):
    agent, family = player
    trial = collect(agent, family.batch(TASKS), [family.spec(seed=n) for n in range(TASKS)], plan=CollectionPlan(1, 1))
    rollout = trial.rounds[0]
    assert rollout.valid.shape == (3, TASKS)
    asked_for = {
        "exploration_episodes": lambda: guard.exploration_of(agent),
        "least_episodes": lambda: guard.least_episodes(agent),
        "belief_variance": lambda: guard.belief_variance(agent, rollout),
        "estimates": lambda: guard.estimates(agent, rollout),
    }[hook]

    def given(value):
        monkeypatch.setattr(
            type(agent), hook, value if hook == "exploration_episodes" else lambda *_: value, raising=False
        )
        return asked_for()

    given(RIGHT[hook])
    odd = {**ODD, **wrong(RIGHT[hook]), "negative": -1, "yes": True}
    if hook == "exploration_episodes":
        del odd["number"]
    for kind, value in odd.items():
        with pytest.raises(PluginError, match=rf"broken_parts/player: {hook} gave .*, expected ") as caught:
            given(value)
        assert "\n" not in str(caught.value), kind


def test_values_that_are_no_numbers_are_told_by_their_score_and_task(player, monkeypatch):
    agent, family = player
    trial = collect(agent, family.batch(TASKS), [family.spec(seed=n) for n in range(TASKS)], plan=CollectionPlan(1, 1))
    values = torch.zeros(3, TASKS)
    monkeypatch.setattr(type(agent), "estimates", lambda *_, **__: (values, values), raising=False)
    assert score(trial, agent, family, ["gae"])[2].scores == {"gae": 0.0}
    values[1, 2] = float("nan")
    expected = (
        rf"player: estimates gave values of which gae of task {trial.specs[2].id} is nan, expected finite numbers"
    )
    with pytest.raises(PluginError, match=expected):
        score(trial, agent, family, ["gae"])
