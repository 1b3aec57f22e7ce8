"""What viewers and recorders are shown: episodes that move, in every mode that follows from an RGB frame."""

import sys
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import AddRenderObservation, HumanRendering, RecordVideo, RenderCollection
from gymnasium.wrappers.vector import HumanRendering as HumanRenderingVec

import registry
import taskgen
from taskgen.faces.drawing import render_modes
from taskgen.family import Animated

ANIMATED = [
    item.full_name
    for item in registry.catalogue().items("families")
    if isinstance(taskgen.build_family(item.full_name), Animated)
]
ROOM = "taskgen/darkroom-v0"


def moved(env: Any, steps: int = 4) -> list[np.ndarray]:
    """The frames of an episode under random actions."""
    env.action_space.seed(1)
    env.reset(seed=0)
    frames = [env.render()]
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        frames.append(env.render())
        if terminated or truncated:
            break
    return frames


def test_the_sweep_is_over_most_families() -> None:
    assert len(ANIMATED) >= 18


@pytest.mark.parametrize("name", ANIMATED)
def test_an_animated_family_shows_the_episode_as_it_stands(name: str) -> None:
    family = taskgen.build_family(name)
    if render_modes(family) == ["ansi"]:
        pytest.skip("no OpenGL here")
    env = taskgen.make(family.spec(seed=1), render_mode="rgb_array")
    frames = moved(env)
    assert {(frame.shape, frame.dtype) for frame in frames} == {(frames[0].shape, np.dtype(np.uint8))}
    assert len({frame.tobytes() for frame in frames}) > 1, "nothing moves"
    batch: Any = env._slots._batch
    assert np.array_equal(frames[-1], family.frame(env.task, batch.state(0)))  # type: ignore[attr-defined]


def test_a_vector_environment_shows_every_slot() -> None:
    family = taskgen.build_family("pendulum")
    specs = [family.spec(seed=seed) for seed in range(3)]
    envs = taskgen.make_vec(specs, render_mode="rgb_array")
    envs.reset(seed=[5, 6, 7])
    actions = np.array([[1.0], [-1.0], [0.5]], dtype=np.float32)
    envs.step(actions)
    for slot, frame in enumerate(envs.render() or ()):
        alone = taskgen.make(specs[slot], render_mode="rgb_array")
        alone.reset(seed=5 + slot)
        alone.step(actions[slot])
        assert np.array_equal(frame, alone.render())


def test_before_the_first_reset_the_task_is_shown() -> None:
    family = taskgen.build_family("terrain-walker")
    env = taskgen.make(family.spec(), render_mode="rgb_array")
    assert np.array_equal(env.render(), family.render(family.spec()))


@pytest.mark.parametrize("registered", [False, True])
def test_a_list_holds_the_frames_since_it_was_last_asked_for(registered: bool) -> None:
    spec = taskgen.build_family("darkroom").spec()
    if registered:
        env = gym.make(ROOM, task=spec, render_mode="rgb_array_list")
    else:
        env = taskgen.make(spec, render_mode="rgb_array_list")
        assert isinstance(env, RenderCollection)
    assert env.render_mode == "rgb_array_list"
    env.reset(seed=0)
    for action in (1, 2, 1):
        env.step(action)
    assert len(env.render()) == 4
    assert env.render() == []


def test_a_window_is_fed_by_gymnasium(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = taskgen.build_family("darkroom").spec()
    for env in (taskgen.make(spec, render_mode="human"), gym.make(ROOM, task=spec, render_mode="human")):
        assert env.render_mode == "human"
        window = env
        while not isinstance(window, HumanRendering):
            window = window.env  # type: ignore[attr-defined]
        assert window.env.unwrapped.render_mode == "rgb_array"
    again = gym.make(env.spec)
    assert again.render_mode == "human"
    envs = taskgen.make_vec([spec] * 2, render_mode="human")
    assert isinstance(envs, HumanRenderingVec)
    assert isinstance(gym.make_vec(ROOM, num_envs=2, render_mode="human"), HumanRenderingVec)
    monkeypatch.setitem(sys.modules, "pygame", None)  # what is missing is said, not passed over
    with pytest.raises(gym.error.DependencyNotInstalled, match="pygame"):
        env.reset(seed=0)


def test_pixels_as_observations_move() -> None:
    env = AddRenderObservation(taskgen.make(taskgen.build_family("darkroom").spec(), render_mode="rgb_array"))
    first, _ = env.reset(seed=0)
    seen = {first.tobytes(), *(env.step(action)[0].tobytes() for action in (1, 2, 3, 4))}
    assert len(seen) > 1


def test_a_recorded_video_moves(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clips: list[list[np.ndarray]] = []
    stand_in = ModuleType("moviepy.video.io.ImageSequenceClip")  # what writes the file is no matter of ours

    class Clip:
        def __init__(self, frames: list[np.ndarray], fps: int) -> None:
            clips.append(frames)

        def write_videofile(self, path: str, logger: Any) -> None: ...

        def close(self) -> None: ...

    stand_in.ImageSequenceClip = Clip  # type: ignore[attr-defined]
    for name in ("moviepy", "moviepy.video", "moviepy.video.io", stand_in.__name__):
        monkeypatch.setitem(sys.modules, name, stand_in)
    env = RecordVideo(
        taskgen.make(taskgen.build_family("cartpole").spec(), render_mode="rgb_array"),
        str(tmp_path / "videos"),
        video_length=8,
    )
    moved(env, 9)
    env.close()
    (frames,) = clips
    assert len({frame.tobytes() for frame in frames}) == len(frames) >= 8


def test_modes_that_cannot_be_are_refused_by_the_name_that_was_given() -> None:
    bandit, room = (taskgen.build_family(name).spec() for name in ("bandit", "darkroom"))
    for mode in ("human", "rgb_array_list", "rgb_array"):
        with pytest.raises(gym.error.UnsupportedMode, match=rf"'{mode}': builtin/bandit has ansi, or None"):
            taskgen.make(bandit, render_mode=mode)
    with pytest.raises(gym.error.UnsupportedMode, match="'human': builtin/bandit has ansi"):
        taskgen.make_vec([bandit], render_mode="human")
    with pytest.raises(
        gym.error.UnsupportedMode, match="'ansi': builtin/darkroom has rgb_array, human, rgb_array_list"
    ):
        taskgen.make(room, render_mode="ansi")
    with pytest.raises(gym.error.UnsupportedMode, match="'rgb_array_list'"):
        taskgen.make_vec([room], render_mode="rgb_array_list")


def test_the_design_game_shows_the_student_whose_turn_it_is() -> None:
    game = taskgen.design_game("maze", {"size": 5}, placements=4, render_mode="rgb_array")
    game.reset(seed=3)
    assert game.render() is None
    seen: set[bytes] = set()
    for _ in range(60):
        if not game.agents or any(game.terminations.values()):
            break
        game.action_space(game.agent_selection).seed(len(seen))
        game.step(game.action_space(game.agent_selection).sample())
        if game.task is not None:
            seen.add(game.render().tobytes())
    assert game.task is not None
    assert len(seen) > 1
