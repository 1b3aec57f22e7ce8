"""Gymnasium ids: every natural spelling, serialisation, wrong inputs, and that none of it makes an import heavy."""

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import registry
import taskgen
from registry.errors import ConfigError, TaskError
from taskgen.faces.env import TaskEnv
from taskgen.faces.vector import TaskVectorEnv

IDS = {item.full_name: f"taskgen/{item.entry.name}-v0" for item in registry.catalogue().items("families")}


@pytest.fixture(autouse=True)
def registered() -> None:
    taskgen.register_envs()


def run(code: str) -> str:
    """What `code` prints in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import gymnasium as gym; import taskgen; gym.register_envs(taskgen); gym.make('taskgen/bandit-v0')",
        "import gymnasium as gym; import taskgen; gym.make('taskgen/bandit-v0')",
        "import gymnasium as gym; gym.make('taskgen:taskgen/bandit-v0')",
        "import taskgen; import gymnasium as gym; taskgen.TaskSpec; gym.make('taskgen/bandit-v0')",
        "import taskgen; import gymnasium as gym; taskgen.register_envs(); gym.make('taskgen/bandit-v0')",
        "import gymnasium as gym; gym.make_vec('taskgen:taskgen/bandit-v0', num_envs=2)",
    ],
)
def test_every_natural_spelling(code: str) -> None:
    run(code)


def test_importing_taskgen_is_cheap_and_registering_needs_no_torch() -> None:
    heavy = "print({'torch', 'gymnasium', 'numpy', 'pydantic'} & set(sys.modules))"
    assert run(f"import sys, taskgen; {heavy}").strip() == "set()"
    registered = "print('torch' in sys.modules, 'taskgen/bandit-v0' in gymnasium.registry)"
    assert run(f"import sys, gymnasium, taskgen; {registered}").strip() == "False True"


def test_a_plugin_may_use_taskgen_while_the_catalogue_is_being_built(tmp_path: Path) -> None:
    plugin = tmp_path / "early_bird.py"
    plugin.write_text(
        "import gymnasium\nimport taskgen\nfrom taskgen import TaskFamily\nfrom registry import Entry, hookimpl\n"
        "from plugins.families.bandit import Bandit, BanditConfig\n"
        "class Mine(Bandit):\n    'Mine.'\n"
        "@hookimpl\ndef register_task_families():\n"
        "    return [Entry('mine', 'early_bird:Mine', 'Mine.', config='early_bird:BanditConfig')]\n"
    )
    code = (
        f"import os; os.environ['TASKGEN_PLUGINS'] = {str(plugin)!r}\n"
        "import registry; print(*[r.error for r in registry.catalogue().plugins if r.status == 'failed'])\n"
        "import gymnasium, taskgen; taskgen.make; print(gymnasium.make('taskgen/mine-v0').unwrapped.task.family)"
    )
    assert run(code).split() == ["early_bird/mine"]


def test_families_of_the_same_name_keep_their_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "rival_bandits.py"
    plugin.write_text(
        "from registry import Entry, hookimpl\nfrom plugins.families.bandit import Bandit, BanditConfig\n"
        "@hookimpl\ndef register_task_families():\n"
        "    return [Entry('bandit', 'rival_bandits:Bandit', 'Rival.', config='rival_bandits:BanditConfig')]\n"
    )
    monkeypatch.setenv("TASKGEN_PLUGINS", str(plugin))
    taskgen.register_envs()
    for id_, family in (
        ("taskgen/rival_bandits.bandit-v0", "rival_bandits/bandit"),
        ("taskgen/builtin.bandit-v0", "builtin/bandit"),
    ):
        assert gym.make(id_).unwrapped.task.family == family
        del gym.registry[id_]


@pytest.mark.parametrize("name", IDS)
def test_every_family_has_an_id_with_string_entry_points(name: str) -> None:
    spec = gym.spec(IDS[name])
    assert isinstance(spec.entry_point, str)
    assert isinstance(spec.vector_entry_point, str)
    assert spec.kwargs == {"family": name}
    assert EnvSpec.from_json(spec.to_json()) == spec
    assert gym.make(IDS[name]).unwrapped.task == taskgen.build_family(name).spec()


def test_registering_again_changes_nothing(recwarn: pytest.WarningsRecorder) -> None:
    before = dict(gym.registry)
    taskgen.register_envs()
    assert gym.registry == before
    assert not recwarn.list


@pytest.mark.parametrize("form", ["spec", "text", "dict"])
def test_a_task_in_every_form(form: str) -> None:
    spec = taskgen.build_family("bandit", {"arms": 3}).spec({"probabilities": [0.0, 0.25, 1.0]}, seed=2)
    task = {"spec": spec, "text": spec.to_json(), "dict": spec.to_dict()}[form]
    env = gym.make("taskgen/bandit-v0", task=task)
    assert isinstance(env.unwrapped, TaskEnv)
    assert env.unwrapped.task == spec
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.task == spec
    assert gym.make(env.spec).unwrapped.task == spec


def test_settings_stand_for_the_default_task() -> None:
    env = gym.make("taskgen/bandit-v0", arms=10, pulls=3)
    assert env.unwrapped.task == taskgen.build_family("bandit", {"arms": 10, "pulls": 3}).spec()
    assert gym.make(EnvSpec.from_json(env.spec.to_json())).unwrapped.task == env.unwrapped.task


def test_make_vec() -> None:
    specs = [taskgen.build_family("bandit").spec(seed=seed) for seed in range(4)]
    env = gym.make_vec("taskgen/bandit-v0", num_envs=4, tasks=specs, autoreset_mode=AutoresetMode.SAME_STEP)
    assert isinstance(env, TaskVectorEnv)
    assert list(env.tasks) == specs
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    same = gym.make_vec("taskgen/bandit-v0", num_envs=3, vectorization_mode="vector_entry_point", task=specs[1])
    assert list(same.unwrapped.tasks) == [specs[1]] * 3
    default = gym.make_vec("taskgen/tabular-mdp-v0", num_envs=2, states=4)
    assert default.single_observation_space.shape == (4,)
    synchronous = gym.make_vec("taskgen/bandit-v0", num_envs=3, vectorization_mode="sync", task=specs[1])
    assert isinstance(synchronous, SyncVectorEnv)
    assert synchronous.get_attr("task") == (specs[1],) * 3


def test_wrong_tasks_and_settings_are_refused() -> None:
    bandit, tabular = (taskgen.build_family(name).spec() for name in ("bandit", "tabular-mdp"))
    for arguments, kind, message in (
        ({"task": tabular}, TaskError, "belongs to family builtin/tabular-mdp, not builtin/bandit"),
        ({"task": 3}, TaskError, "task = 3: expected a TaskSpec, its JSON text or its dict"),
        ({"task": "{"}, TaskError, "not valid JSON"),
        ({"task": {"family": "builtin/bandit"}}, TaskError, "context"),
        ({"task": bandit, "arms": 5}, TaskError, "arms: a task carries the settings"),
        ({"armz": 5}, TypeError, "unexpected keyword argument 'armz': no setting of .* Did you mean 'arms'"),
        ({"arms": 0}, ConfigError, "arms"),
    ):
        with pytest.raises(kind, match=message):
            gym.make("taskgen/bandit-v0", **arguments)
    with pytest.raises(TaskError, match="2 tasks for num_envs=3"):
        gym.make_vec("taskgen/bandit-v0", num_envs=3, tasks=[bandit, bandit])
    with pytest.raises(TaskError, match="both given"):
        gym.make_vec("taskgen/bandit-v0", num_envs=1, tasks=[bandit], task=bandit)


def test_tasks_from_a_file_become_environments(tmp_path: Path) -> None:
    family = taskgen.build_family("bandit")
    specs = [family.spec(seed=seed) for seed in range(3)]
    taskgen.TaskSet(tuple(specs)).write(tmp_path / "tasks.jsonl")
    loaded = taskgen.load_tasks(tmp_path / "tasks.jsonl")
    assert loaded == specs
    assert list(taskgen.make_vec(loaded).tasks) == specs


def test_every_public_name_is_there() -> None:
    for name in taskgen.__all__:
        assert getattr(taskgen, name).__name__ == name
        assert name in dir(taskgen)
    with pytest.raises(AttributeError, match="no attribute 'make_vek'"):
        taskgen.make_vek  # noqa: B018


def test_trials_and_samplers_by_their_ids() -> None:
    """The same trials as `make_trials` gives, single and vector, and a spec that is written as JSON."""
    how = {"source": "domain-randomization", "family": {"name": "bandit", "arms": 3}, "seed": 4}
    env = gym.make("taskgen/Trials-v0", episodes=3, flat=True, **how)
    expected = taskgen.make_trials(episodes=3, flat=True, **how)
    for seed in (6, 7):
        assert (env.reset(seed=seed)[0] == expected.reset(seed=seed)[0]).all()
        assert env.unwrapped.task == expected.task
        for action in (0, 2, 1):
            ours, theirs = env.step(action), expected.step(action)
            assert (ours[0] == theirs[0]).all()
            assert ours[1:4] == theirs[1:4]
        assert ours[2]
    assert EnvSpec.from_json(env.spec.to_json()).make().reset()[0].shape == env.observation_space.shape
    envs = gym.make_vec("taskgen/Trials-v0", num_envs=4, episodes=3, autoreset_mode="SameStep", **how)
    assert envs.unwrapped.autoreset_mode is AutoresetMode.SAME_STEP
    assert envs.reset()[0]["action"].shape == (4, 3)
    assert len({task.id for task in envs.unwrapped.tasks}) == 4
    synchronous = gym.make_vec("taskgen/Trials-v0", num_envs=2, vectorization_mode="sync", episodes=3, **how)
    assert isinstance(synchronous, SyncVectorEnv)
    assert synchronous.reset(seed=0)[0]["ended"].shape == (2, 1)


def test_a_sampler_plays_an_episode_a_task() -> None:
    how = {"source": "domain-randomization", "family": "cartpole"}
    env, envs = gym.make("taskgen/Sampler-v0", **how), gym.make_vec("taskgen/Sampler-v0", num_envs=3, **how)
    assert env.observation_space == envs.single_observation_space == taskgen.build_family("cartpole").observation_space
    env.reset(seed=1)
    first = env.unwrapped.task
    env.reset()
    assert env.unwrapped.task != first
    assert envs.reset(seed=1)[0].shape == (3, 4)
    assert envs.unwrapped.tasks[0] == first
