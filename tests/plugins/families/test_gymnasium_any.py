"""The family `gymnasium`: anybody's environment.

Longer than most files here: all sides of one family, from its settings to its workers.
"""

import copy
import gc
import json
import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gym_toys
import gymnasium as gym
import numpy as np
import pytest
import torch

import taskgen
from plugins.families import gymnasium_any
from registry.cli import main
from registry.config import Part
from registry.discovery import FILES_VARIABLE
from registry.errors import ConfigError, TaskError, UserError
from taskgen.engines import gym_recipe
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.spec import TaskSpec
from taskgen.testing import check_family


def family(id_: str = "Corridor", **settings: Any) -> Any:
    return taskgen.build_family(
        "gymnasium", {"id": f"gym_toys:{id_}" if ":" not in id_ and "-" not in id_ else id_, **settings}
    )


LENGTH = {"length": {"low": 2.0, "high": 8.0}}


def played(made: Any, specs: Any, steps: int = 20, action: int = 1) -> tuple[torch.Tensor, Any]:
    """Rewards [T, B] of always the same action, and the batch."""
    batch = made.batch(len(specs))
    batch.set_tasks(specs)
    batch.reset()
    rewards = [batch.step(torch.full((len(specs),), action)).reward.clone() for _ in range(steps)]
    return torch.stack(rewards), batch


# ------------------------------------------------------------------------------------------------ tasks and knobs
def test_a_class_of_ones_own_keeps_the_contract_of_every_family():
    knobs = {
        **LENGTH,
        "speed": {"low": 1, "high": 2},
        "pull": {"low": -0.2, "high": 0.2, "to": "attribute.slope.pull", "default": 0.0},
    }
    made = family(knobs=knobs)
    check_family(made)
    assert made.horizon == 20
    assert {name: knob.integer for name, knob in made.context_space.knobs.items()} == {
        "length": False,
        "speed": True,
        "pull": False,
    }
    assert made.context_space.knobs["length"].default == 5.0


def test_the_knobs_reach_the_environment_and_survive_resets():
    """Right by 1 from about 0: after n steps the place is about n, so lengths 2.5, 4.5, 7.5 take 3, 5, 8 steps."""
    made = family(knobs={**LENGTH, "start": {"low": -1.0, "high": 1.0, "default": 0.0, "to": "options.start"}})
    contexts = [{"length": 2.5}, {"length": 4.5}, {"length": 7.5}, {"length": 7.5, "start": 1.0}]
    batch = made.batch(4)
    batch.set_tasks([made.spec(one) for one in contexts])
    for _ in range(3):
        batch.reset()
        ended = torch.stack([batch.step(torch.ones(4, dtype=torch.int64)).terminated for _ in range(9)])
        assert ended.int().argmax(0).tolist() == [2, 4, 7, 6]


@pytest.mark.parametrize("workers", [0, 2])
def test_episodes_follow_the_seeds_wherever_they_are_hosted(workers: int):
    made = family(workers=workers, deadline=20.0)
    specs = [made.spec(seed=seed) for seed in (1, 2, 1)]
    batch = made.batch(3)
    batch.set_tasks(specs)
    first, second = batch.reset().clone(), batch.reset().clone()
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], second[0])
    expected = family().batch(3)
    expected.set_tasks([family().spec(seed=seed) for seed in (1, 2, 1)])
    assert torch.equal(expected.reset(), first)


def test_with_levels_all_episodes_begin_with_the_seed_of_the_task():
    made = family(levels=True)
    check_family(made)
    batch = made.batch(1)
    batch.set_tasks([made.spec(seed=5)])
    env = gym_toys.Corridor()
    assert batch.reset(seeds=[9])[0].tolist() == batch.reset()[0].tolist() == env.reset(seed=5)[0].tolist()


def test_parts_are_flattened_and_actions_are_elements_of_the_space():
    made = family("Parts")
    check_family(made)
    env = taskgen.make(made.spec(seed=3))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation["late"] == 1
    for _ in range(6):
        observation, *_ = env.step((np.int64(1), np.array([0.5], dtype=np.float32)))
    assert observation["late"] == 2


def test_parts_that_nobody_reads_are_left_out_by_name():
    id_ = "MiniGrid-DoorKey-5x5-v0"
    with pytest.raises(UserError, match="its part mission is a MissionSpace.*`leave_out` names it"):
        family(id_)
    with pytest.raises(UserError, match="have no part 'misson'. Did you mean 'mission'"):
        family(id_, leave_out=["misson"])
    made = family(id_, leave_out=["mission"], levels=True)
    assert set(made.observation_space.spaces) == {"direction", "image"}
    assert made.horizon == 250  # by MiniGrid's own max_steps
    batch = made.batch(2)
    batch.set_tasks([made.spec(seed=1), made.spec(seed=2)])
    rooms = batch.reset()
    assert not torch.equal(rooms[0], rooms[1])
    assert torch.equal(batch.reset(), rooms)


def test_numbers_of_a_class_are_knobs_of_one_environment_alone():
    made = family("Acrobot-v1", knobs={"length": {"low": 0.5, "high": 1.0, "to": "attribute.LINK_LENGTH_1"}})
    assert made.context_space.knobs["length"].default == 1.0
    env = gym_recipe.make(made.recipe, {"length": 0.5})
    assert (env.unwrapped.LINK_LENGTH_1, type(env.unwrapped).LINK_LENGTH_1) == (0.5, 1.0)


def test_a_registered_environment_is_that_environment():
    made = family("LunarLander-v3", knobs={"gravity": {"low": -11.9, "high": -4.0}})
    assert (made.horizon, made.context_space.knobs["gravity"].default) == (1000, -10.0)
    batch = made.batch(2)
    batch.set_tasks([made.spec({"gravity": -11.0}, seed=1), made.spec({"gravity": -5.0}, seed=1)])
    batch.reset()
    seed = int(batch._reset_with[0])
    expected = []
    for gravity in (-11.0, -5.0):
        env = gym.make("LunarLander-v3", gravity=gravity)
        env.reset(seed=seed)
        expected.append(np.stack([env.step(2)[0] for _ in range(30)]))
    seen = np.stack([batch.step(torch.tensor([2, 2])).observation.numpy() for _ in range(30)], axis=1)
    assert np.array_equal(seen, np.stack(expected))
    assert not np.array_equal(seen[0], seen[1])


def test_a_task_is_rebuilt_from_its_line_and_says_nothing_of_where_it_is_played():
    made = family(knobs=LENGTH, workers=1, deadline=9.0)
    spec = made.spec({"length": 3.0}, seed=4)
    assert "workers" not in spec.context
    assert "deadline" not in spec.context
    again = taskgen.family_of(taskgen.TaskSpec.from_json(spec.to_json()))
    again.check(spec)
    assert again.structure == made.structure
    assert family(knobs=LENGTH).spec({"length": 3.0}, seed=4).id == spec.id


@pytest.mark.parametrize("workers", [0, 1])
def test_a_copy_does_again_what_was_done_and_goes_on_alike(workers: int):
    made = family(knobs=LENGTH, workers=workers, deadline=20.0)
    batch = made.batch(3)
    batch.set_tasks([made.spec({"length": length}, seed=1) for length in (2.5, 6.0, 7.0)])
    batch.reset()
    for action in ([1, 0, 1], [1, 1, 1], [1, 1, 0]):  # the first ends
        batch.step(torch.tensor(action))
    for again in (copy.deepcopy(batch), pickle.loads(pickle.dumps(batch))):
        original = copy.deepcopy(batch)
        for _ in range(9):
            one, other = original.step(torch.ones(3, dtype=torch.int64)), again.step(torch.ones(3, dtype=torch.int64))
            for name in ("observation", "reward", "terminated", "truncated"):
                assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert torch.equal(original.reset(), again.reset())


@pytest.mark.filterwarnings("ignore:.*does not follow the seed")
def test_of_an_environment_that_ignores_its_seed_there_is_no_copy():
    made = family("IgnoresSeed")
    batch = made.batch(1)
    batch.set_tasks([made.spec()])
    batch.reset()
    with pytest.raises(TypeError, match="does not do the same again from the same seed"):
        copy.deepcopy(batch)


def test_tasks_that_differ_in_a_knob_are_different():
    from taskgen.build import task_hash, task_key

    made = family(knobs=LENGTH)
    one, other, luck = made.spec({"length": 3.0}), made.spec({"length": 4.0}), made.spec({"length": 3.0}, seed=8)
    assert task_key(one) == task_key(luck) != task_key(other)
    assert task_hash(one) == task_hash(luck) != task_hash(other)
    level = family(levels=True)
    assert task_key(level.spec(seed=1)) != task_key(level.spec(seed=2))


ADR = {"name": "adr", "widen_above": 0.8, "narrow_below": 0.2, "step": 0.5, "queue": 8}


@pytest.mark.parametrize("named", ["domain-randomization", ADR, {"name": "plr", "score": "learnability"}])
def test_sources_vary_the_knobs(named: Any):
    made = family(knobs=LENGTH)
    source = taskgen.build_source(named, made, 0)
    for _ in range(40):
        tasks = source.ask(16)
        wanted = source.scores if isinstance(source, taskgen.Curriculum) else ()
        source.tell([taskgen.TaskResult(task, (1.0,), dict.fromkeys(wanted, 0.2)) for task in tasks])
    lengths = {task.context["length"] for task in tasks}
    assert len(lengths) > 2
    assert all(2.0 <= length <= 8.0 for length in lengths)


# ------------------------------------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"id": "LunarLander-v9"}, "nobody has registered.*LunarLander-v3"),
        ({"id": "gym_toys:Coridor"}, "'Coridor' is no gymnasium.Env of gym_toys. Did you mean 'Corridor'"),
        ({"id": "gym_toys:time.sleep"}, "is no gymnasium.Env of gym_toys"),
        ({"id": "antigravity:Env"}, "no module of a plugin.*--plugin antigravity.py"),
        ({"id": "taskgen/bandit-v0"}, "nobody has registered"),
        ({"id": "Ant-v5", "kwargs": {"xml_file": "/etc/hosts"}}, "kwargs.xml_file = '/etc/hosts'.*neither files"),
        ({"id": "gym_toys:Corridor", "kwargs": {"a": {"b": ["c.d"]}}}, r"kwargs.a.b\[0\] = 'c.d'"),
        ({"id": "gym_toys:NeverEnds", "knobs": {"x": {"to": "kwargs.x"}}}, "takes no number 'x'"),
        ({"id": "CartPole-v1", "knobs": {"length": {"low": 0.3, "high": 1.0}}}, 'meant by to = "attribute.length"'),
        ({"id": "gym_toys:Corridor", "knobs": {"lenght": {}}}, "Did you mean 'length'"),
        ({"id": "gym_toys:Corridor", "knobs": {"x": {"to": "attribute.lenght"}}}, "no attribute 'lenght'.*'length'"),
        ({"id": "gym_toys:Corridor", "knobs": {"x": {"to": "attribute.__class__.x"}}}, "begin with _ are nobody's"),
        ({"id": "gym_toys:Corridor", "knobs": {"x": {"to": "length"}}}, "expected kwargs.NAME, attribute.NAME"),
        ({"id": "gym_toys:Corridor", "knobs": {"length": {"low": 6.0, "high": 7.0}}}, "own 5 lies outside of 6 to 7"),
        ({"id": "gym_toys:Corridor", "knobs": {"length": {"low": 7.0, "high": 6.0}}}, "low = 7 is above high = 6"),
        ({"knobs": {"length": {"low": 0.6, "default": 0.5}}}, "default = 0.5 lies outside of 0.6 to 1"),
        ({"knobs": {"length": {"high": 2.0, "default": 3.0}}}, "default = 3 lies outside of 0 to 2"),
        ({"knobs": {"length": {"low": 0.5, "high": 2.0, "integer": True}}}, "integer = true, while 0.5, 2 are not all"),
        ({"id": "gym_toys:Corridor", "knobs": {"x": {"to": "options.start"}}}, "say `default`"),
        ({"id": "gym_toys:Corridor", "knobs": {"horizon": {"default": 1.0, "to": "options.x"}}}, "name it otherwise"),
    ],
)  # fmt: skip
def test_what_names_nothing_is_refused(settings: dict[str, Any], words: str):
    with pytest.raises(UserError, match=words):
        taskgen.build_family("gymnasium", settings)


def test_without_a_limit_of_steps_one_has_to_be_said() -> None:
    gym_toys.Endless = type(
        "Endless", (gym_toys.NeverEnds,), {"max_steps": property(lambda self: 0, lambda self, value: None)}
    )
    with pytest.raises(ConfigError, match="horizon: gym_toys:Endless has no limit .*family.horizon=200"):
        family("Endless")
    assert family("Endless", horizon=7).horizon == 7


def test_a_module_that_nobody_imported_is_not_imported_for_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Tasks are data."""
    (tmp_path / "stranger.py").write_text("raise SystemExit('this ran')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = family().spec()
    line = spec.canonical().replace("gym_toys:Corridor", "stranger:Corridor")
    with pytest.raises(TaskError, match="stranger is no module of a plugin"):
        taskgen.family_of(taskgen.TaskSpec.from_json(line))


def test_absent_packages_are_named_with_how_to_install_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "minigrid", None)
    for id_ in [id_ for id_ in gym.registry if id_.startswith("MiniGrid-")]:
        monkeypatch.delitem(gym.registry, id_)
    with pytest.raises(
        UserError, match=r"minigrid, which cannot be imported.*pip install 'taskgen-metarl\[minigrid\]'"
    ):
        gym_recipe.recipe("MiniGrid-Empty-5x5-v0", {})
    monkeypatch.setitem(sys.modules, "Box2D", None)
    for name in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"LunarLander-v3: .*Box2D.*pip install 'taskgen-metarl\[box2d\]'"):
        gym_recipe.make(gym_recipe.recipe("LunarLander-v3", {}), {})


@pytest.mark.parametrize("place", ["slope", "slope.pul", "slop.pull", "reset"])
def test_what_is_no_number_of_the_environment_is_not_set(place: str):
    what = gym_recipe.recipe("gym_toys:Corridor", {}, {"x": f"attribute.{place}"})
    with pytest.raises(UserError, match=rf"has no number '{place}'"):
        gym_recipe.make(what, {"x": 0.5})


# ------------------------------------------------------------------------------------------------ warnings
@pytest.mark.parametrize(
    ("id_", "knobs", "words"),
    [
        ("NondeterministicStep", {}, "does not follow the seed"),
        ("IgnoresSeed", {}, "does not follow the seed"),
        ("Forgets", {}, "remembers earlier episodes"),
        ("Raises", {}, "broke when it was tried: it raised ValueError: the floor gave way"),
        ("RefusesLong", LENGTH, "with length = 8 broke when it was tried: it raised ValueError: too long"),
        ("Corridor", {"unused": {}}, "unused .kwargs.unused. changed nothing in 32 steps between 0 and 1"),
    ],
)
def test_what_is_not_promised_is_warned_of(id_: str, knobs: Any, words: str):
    with pytest.warns(UserWarning, match=words):
        family(id_, knobs=knobs)


def test_a_good_environment_is_not_warned_of(recwarn: pytest.WarningsRecorder):
    family(knobs=LENGTH)
    family("AliasedBuffer")
    assert not [str(one.message) for one in recwarn if issubclass(one.category, UserWarning)]


# ------------------------------------------------------------------------------------------------ faults
@pytest.mark.parametrize(
    ("id_", "words"),
    [
        ("NanReward", "reward = nan, expected a finite number"),
        ("InfiniteReward", "reward = inf, expected a finite number"),
        ("NanObservation", "not finite: nan"),
        ("WrongType", "of <U1, expected float32"),
        ("WholeOutOfBounds", r"array\(\[41, +0\]\), none of Box"),
        ("WrongShape", r"\[3\], expected \[2\]"),
        ("IntegerTerminated", "terminated = 0, a int, expected a bool"),
        ("FourValues", "4 values, expected"),
        ("Raises", "it raised ValueError: the floor gave way"),
    ],
)
def test_an_answer_out_of_the_spaces_costs_an_episode_and_is_counted(id_: str, words: str):
    made = family(id_, kwargs={"length": 9.0})
    batch = made.batch(2)
    batch.set_tasks([made.spec(seed=1), made.spec(seed=2)])
    before = batch.reset()
    for time_ in (1, 2):
        outcome = batch.step(torch.tensor([1, 0]))
        assert not outcome.truncated.any(), time_
        before = outcome.observation.clone()
    outcome = batch.step(torch.tensor([1, 0]))
    assert outcome.truncated.tolist() == [True, True]
    assert outcome.reward.tolist() == [0.0, 0.0]
    assert torch.equal(outcome.observation, before)
    assert batch.faults.count == 2
    (reason,) = batch.faults.reasons
    assert re.search(words, reason), reason
    assert batch.faults.last.step == 3
    batch.reset()
    assert not batch.step(torch.tensor([1, 0])).truncated.any()


@pytest.mark.parametrize(
    ("id_", "words"), [("OtherSpaces", "observation space is .* expected"), ("RefusesLong", "too long")]
)
def test_a_task_whose_environment_cannot_be_made_is_a_fault_of_its_own(id_: str, words: str):
    made = family(id_, knobs=LENGTH)
    rewards, batch = played(made, [made.spec({"length": 7.5}), made.spec({"length": 2.5})], steps=3)
    assert rewards.tolist() == [[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    assert batch.faults.count == 1
    assert re.search(words, batch.faults.last.reason)
    assert batch.faults.last.task.context["length"] == 7.5
    outcome = batch.reset(), batch.step(torch.tensor([1, 1]))
    assert outcome[1].truncated.tolist() == [True, False]
    batch.reset()
    batch.step(torch.tensor([1, 1]))
    assert set(batch.faults.quarantine) == {made.spec({"length": 7.5}).id}


@pytest.mark.parametrize(
    ("id_", "deadline", "words"),
    [
        ("HangsWhenLong", 0.7, "step: not done after 0.7 s"),
        ("DiesWhenLong", 20.0, r"step: its process died \(exit code 7\)"),
    ],
)
def test_what_hangs_or_dies_costs_an_episode_and_not_the_run(
    id_: str, deadline: float, words: str, monkeypatch: pytest.MonkeyPatch
):
    """Two workers, slots 0 and 2 in one: the neighbour of the long one loses its episode and is not blamed."""
    own = family(knobs=LENGTH).config  # nobody tries the ends of its knob
    config = own.model_copy(update={"id": f"gym_toys:{id_}", "workers": 2, "deadline": deadline})
    with monkeypatch.context() as patch:
        patch.setattr(gymnasium_any, "_problems", lambda *tried: ())
        made = gymnasium_any.GymnasiumAny(config, name="builtin/gymnasium")
    specs = [made.spec({"length": length}) for length in (2.5, 2.5, 7.5, 2.5)]
    begun = time.monotonic()
    rewards, batch = played(made, specs, steps=3)
    assert time.monotonic() - begun < 15.0
    assert rewards[2].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert batch.faults.count == 2
    assert [fault.task.id for faults in batch.faults._blamed.values() for fault in faults] == [specs[2].id]
    assert any(re.search(words, reason) for reason in batch.faults.reasons), batch.faults.reasons
    batch.set_tasks([made.spec({"length": 3.5})], [2])
    batch.reset()
    ended = torch.stack([batch.step(torch.ones(4, dtype=torch.int64)).terminated for _ in range(4)])
    assert ended.int().argmax(0).tolist() == [2, 2, 3, 2]


def test_what_hangs_when_it_is_tried_is_named():
    with pytest.raises(UserError, match=r"gym_toys:Hangs: when it was tried, not done after 0.6 s"):
        family("Hangs", workers=1, deadline=0.6)
    with pytest.raises(UserError, match=r"gym_toys:Dies: when it was tried, its process died \(exit code 7\)"):
        family("Dies", workers=1, deadline=20.0)


def test_workers_are_kept_for_the_next_batch_and_end_with_their_family():
    made = family(workers=1, deadline=20.0)
    _, batch = played(made, [made.spec()], steps=1)
    process = batch._hosts._workers[0]._alive[0][0].pid
    del batch
    gc.collect()
    _, batch = played(made, [made.spec()], steps=1)
    assert batch._hosts._workers[0]._alive[0][0].pid == process
    del batch, made
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_run_quarantines_the_tasks_whose_environment_keeps_failing(tmp_path: Path):
    """Three tasks, one of which cannot be made: two faults in each of two trials, then it is not asked for any more."""
    made = family("RefusesLong", knobs=LENGTH)
    tasks = [made.spec({"length": length}, seed=seed) for seed, length in enumerate((2.5, 3.5, 7.5))]
    (tmp_path / "tasks.jsonl").write_text("".join(f"{task.to_json()}\n" for task in tasks))
    small = "training.iterations=6 training.tasks=3 training.episodes=2 training.evaluate_every=6 evaluation.tail=0"
    family_ = "family=gymnasium family.id=gym_toys:RefusesLong family.knobs={length={low=2.0,high=8.0}}"
    held = "evaluation.tasks=2 evaluation.final_tasks=2 evaluation.players=[] evaluation.same_tasks=true"
    source = f"source=task-set source.path={tmp_path}/tasks.jsonl"
    line = f"train rl2-bandit --run {tmp_path}/run {family_} {source} {small} {held}"
    assert main(line.split()) == 0
    logged = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    last = [json.loads(line)["metrics"] for line in logged][-1]
    assert (last["faults/count"], last["tasks/n_quarantined"]) == (4, 1)
    (told,) = (tmp_path / "run" / "quarantine").glob("*.json")
    assert told.stem == tasks[2].id
    assert "too long" in told.read_text()


# ------------------------------------------------------------------------------------------------ by the command line
FILE = """
import gymnasium as gym
import numpy as np


class Hill(gym.Env):
    def __init__(self, slope=0.5):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.slope = slope

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.normal(0.0, 0.1, 1).astype(np.float32)
        return self.place.copy(), {}

    def step(self, action):
        self.place = self.place + action - np.float32(self.slope)
        return self.place.copy(), float(-abs(self.place[0])), False, False, {}
"""


def test_a_file_with_an_environment_and_nothing_else_is_a_plugin(tmp_path: Path):
    """Generated, shown and validated by other processes; without the file the tasks say what they lack."""
    (tmp_path / "hill.py").write_text(FILE)

    def run(line: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "taskgen", *line.split()]
        environment = {key: value for key, value in os.environ.items() if key != FILES_VARIABLE}
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False, env=environment
        )

    knobs = "family.id=hill:Hill family.horizon=9 family.knobs={slope={low=0.0,high=0.9}}"
    done = run(f"--plugin hill.py generate domain-randomization --family gymnasium -n 5 -o tasks.jsonl {knobs}")
    assert done.returncode == 0, done.stderr
    shown = run("--plugin hill.py show tasks.jsonl --first 1")
    assert "slope" in shown.stdout
    alone = run("validate tasks.jsonl")
    assert alone.returncode == 4
    assert "hill is no module of a plugin" in alone.stderr
    assert "--plugin hill.py" in alone.stderr
    told = run("--plugin hill.py describe gymnasium family.id=hill:Hill family.horizon=9")
    assert "kwargs.slope" in told.stdout, told.stderr


def test_describe_lists_the_numbers_that_there_are(capsys: pytest.CaptureFixture[str]):
    lander = ["family.id=LunarLander-v3", "family.knobs={gravity={low=-11.9,high=-4.0}}"]
    assert main(["describe", "gymnasium", *lander]) == 0
    told = capsys.readouterr().out
    assert "kwargs.wind_power" in told
    assert re.search(r"gravity +number +-11.9 to -4 +-10", told)
    assert main(["describe", "gymnasium", "family.idd=LunarLander-v3"]) == 2
    assert "Did you mean 'id'" in capsys.readouterr().err
    assert main(["describe", "rl2", "agent.entropy=1"]) == 2
    assert "settings of a family" in capsys.readouterr().err


def test_an_agent_plays_it_in_workers_as_in_this_process():
    def trial(**settings: Any) -> Any:
        made = family(knobs=LENGTH, **settings)
        agent = _random(made)
        specs = [made.spec({"length": length}, seed=seed) for seed, length in enumerate((2.5, 4.0, 6.0))]
        return collect(agent, made.batch(3), specs, plan=agent.plan(3))

    here, there = trial(), trial(workers=2, deadline=20.0)
    for name in ("observation", "reward", "terminated", "valid"):
        assert torch.equal(getattr(here.rounds[0], name), getattr(there.rounds[0], name)), name


def _random(made: Any) -> Any:
    problem = problem_of(made, episodes=3, seed=0, device=torch.device("cpu"))
    return build_agent(Part(name="random"), problem)


@pytest.mark.parametrize(("key", "value"), [("low", 1.25), ("default", -0.5), ("high", 0.3), ("integer", True)])
def test_a_task_whose_knob_has_limits_that_are_none_is_told(key: str, value: object) -> None:
    spec = taskgen.build_family("gymnasium").spec().to_dict()
    knobs = {"length": {**spec["context"]["knobs"]["length"], key: value}}
    task = TaskSpec.from_dict({**spec, "context": {**spec["context"], "knobs": knobs}})
    with pytest.raises(TaskError, match=r"knobs.length"):
        taskgen.build.family_of(task)
