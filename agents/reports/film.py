"""One trial of one task, watched: as a GIF of the frames that its family draws, or as a transcript in text.

Of episodes played side by side the first of every round is watched.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import registry
from agents.training.run import RunDirectory
from agents.training.trained import load_trained
from registry.config import Part
from registry.errors import TaskError, UserError
from taskgen.batch import TaskBatch, Transition
from taskgen.build import family_of
from taskgen.family import Animated, TaskFamily, same_structure
from taskgen.interaction.agent import Agent, judged
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.guard import planned
from taskgen.pictures import LEAST, font, frame_picture
from taskgen.runner import Population
from taskgen.space import readable
from taskgen.spec import TaskSpec
from taskgen.taskset import staged

_STRIP = 20  # pixels above a frame for its caption
_HOLD = 1200  # milliseconds that the last frame of an episode is shown
_LETTERS = 12


@dataclass(frozen=True)
class Moment:
    """What there was to see after a reset (step 0) or after a step."""

    episode: int
    step: int
    observation: NDArray[Any]
    picture: NDArray[np.uint8] | None
    """RGB, where one was wanted."""
    action: NDArray[Any] | None = None
    reward: float = 0.0
    total: float = 0.0
    """Return of the episode so far."""
    ending: str = ""
    """ "terminated", "truncated" or nothing."""


@dataclass
class Film:
    """A `TaskBatch` that remembers every moment of what is played in its first slot."""

    family: TaskFamily[Any]
    batch: TaskBatch
    spec: TaskSpec
    every: int
    """Draw every so many steps, and the end of an episode; 0 draws nothing."""
    moments: list[Moment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots, self.device = self.batch.slots, self.batch.device
        self._episode, self._step, self._total = 0, 0, 0.0

    def set_tasks(self, specs: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        """See `TaskBatch.set_tasks`."""
        self.batch.set_tasks(specs, slots)

    def reset(self, where: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        """See `TaskBatch.reset`."""
        observation = self.batch.reset(where, seeds)
        if where is None or bool(where[0]):
            self._episode, self._step, self._total = self._episode + 1, 0, 0.0
            self.moments.append(Moment(self._episode, 0, _row(observation), self._picture("")))
        return observation

    def step(self, action: Tensor) -> Transition:
        """See `TaskBatch.step`."""
        outcome = self.batch.step(action)
        if self.moments[-1].ending:  # it waits for its neighbours
            return outcome
        self._step += 1
        self._total += float(outcome.reward[0])
        ending = "terminated" if bool(outcome.terminated[0]) else "truncated" if bool(outcome.truncated[0]) else ""
        self.moments.append(
            Moment(
                self._episode,
                self._step,
                _row(outcome.observation),
                self._picture(ending),
                _row(action),
                float(outcome.reward[0]),
                self._total,
                ending,
            )
        )
        return outcome

    def descriptor(self) -> Tensor:
        """See `TaskBatch.descriptor`."""
        return self.batch.descriptor()

    def _picture(self, ending: str) -> NDArray[np.uint8] | None:
        due = self.every and (self._step % self.every == 0 or ending)
        if not (due and isinstance(self.family, Animated)):
            return None
        state: Any = self.batch
        return self.family.frame(self.spec, state.state(0))


def film(spec: TaskSpec, player: str, *, episodes: int | None = None, seed: int = 0, every: int = 1) -> Film:
    """One trial of `spec` by `player`, a catalogue agent or the directory of a run, whose trained agent it then is.

    `episodes` are the run's own when left out, else 1. Raises `UserError` for a player that does not fit the task.
    """
    torch.set_num_threads(1)  # one slot
    family = family_of(spec)
    agent, episodes = _player(spec, family, player, episodes, seed)
    return watch(spec, family, judged(agent), episodes, every)


def introduced(player: str) -> str:
    """`player` as a reader should know it: an agent of the catalogue that would learn has learned nothing yet."""
    if (Path(player) / "config.toml").is_file() or "reference" in registry.catalogue().get("agents", player).entry.tags:
        return player
    return f"{player}, untrained"


def watch(spec: TaskSpec, family: TaskFamily[Any], agent: Agent, episodes: int, every: int) -> Film:
    """One trial of `spec` by `agent`."""
    plan = planned(agent, episodes)
    watched = Film(family, family.batch(plan.slots), spec, every)
    collect(agent, watched, [spec], plan=plan)
    return watched


def write(watched: Film, path: Path, *, player: str, frames_per_second: float, overwrite: bool = False) -> str:
    """Write a .gif or a .txt, all or nothing, and say in a few words what it holds. Raises `UserError` otherwise."""
    with staged(path, overwrite=overwrite) as file:
        if path.suffix == ".txt":
            file.write(transcript(watched, player).encode())
        else:
            file.write(animation(watched.moments, frames_per_second))
    episodes, steps = watched.moments[-1].episode, sum(moment.step > 0 for moment in watched.moments)
    return f"{episodes} episode{'s' * (episodes != 1)}, {steps} step{'s' * (steps != 1)}"


def check_output(path: Path, spec: TaskSpec) -> bool:
    """Whether pictures are needed for `path`. Raises `UserError` for what cannot be written."""
    if path.suffix not in (".gif", ".txt"):
        raise UserError(f"{path}: name the output .gif for a film or .txt for a transcript")
    if path.suffix == ".gif" and not isinstance(family_of(spec), Animated):
        raise UserError(f"{path}: {spec.family} draws no frames; name the output .txt for a transcript")
    return path.suffix == ".gif"


def animation(moments: Sequence[Moment], frames_per_second: float) -> bytes:
    """The pictures as a GIF, each under a line that says episode, step and return; it repeats for ever."""
    from PIL import Image, ImageDraw

    letters = font(_LETTERS)
    moments = [moment for moment in moments if moment.picture is not None]
    captions = [f"ep {moment.episode}  step {moment.step}  return {moment.total:.2f}" for moment in moments]
    captioned = math.ceil(max(map(letters.getlength, captions))) + 8
    frames: list[Image.Image] = []
    durations: list[int] = []
    for index, (moment, caption) in enumerate(zip(moments, captions, strict=True)):
        assert moment.picture is not None
        picture = frame_picture(moment.picture, least=LEAST)
        frame = Image.new("RGB", (max(picture.width, captioned), picture.height + _STRIP), "white")
        frame.paste(picture, ((frame.width - picture.width) // 2, _STRIP))
        ImageDraw.Draw(frame).text((4, 3), caption, "black", letters)
        frames.append(frame)
        last = index + 1 == len(moments) or moments[index + 1].step == 0
        durations.append(_HOLD if last else round(1000 / frames_per_second))
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return buffer.getvalue()


def transcript(watched: Film, player: str) -> str:
    """The task and every step as text."""
    spec, rendered = watched.spec, watched.family.render(watched.spec)
    task = (
        rendered
        if isinstance(rendered, str)
        else "\n".join(f"{name} = {readable(value)}" for name, value in spec.context.items())
    )
    lines = [f"task {spec.id}, {spec.family}, seed {spec.seed}; player {player}", task]
    for moment in watched.moments:
        if moment.step == 0:
            head = f"{'step':>6}  {'action':<12} {'reward':>9} {'return':>9}  observation"
            lines += ["", f"episode {moment.episode}", head]
        action = "" if moment.action is None else _short(moment.action)
        reward = "" if moment.action is None else f"{moment.reward:9.3f} {moment.total:9.3f}"
        lines.append(f"{moment.step:>6}  {action:<12} {reward:>19}  {_short(moment.observation)}")
        if moment.ending:
            lines.append(f"{moment.ending} after {moment.step} steps, return {moment.total:.3f}")
    return "\n".join(lines) + "\n"


def _player(spec: TaskSpec, family: TaskFamily[Any], player: str, episodes: int | None, seed: int) -> tuple[Agent, int]:
    if (Path(player) / "config.toml").is_file():
        return _trained(RunDirectory(Path(player)), spec, episodes)
    catalogue = registry.catalogue()
    item = catalogue.get("agents", player)
    if problems := catalogue.incompatibilities([item, catalogue.get("families", family.name)]):
        raise UserError("; ".join(problems))
    problem = problem_of(family, episodes=episodes or 1, seed=seed, device=torch.device("cpu"))
    return build_agent(Part(name=item.full_name), problem), episodes or 1


def _trained(run: RunDirectory, spec: TaskSpec, episodes: int | None) -> tuple[Agent, int]:
    """The agent of the run's newest checkpoint."""
    trained = load_trained(run, "cpu")
    try:
        same_structure([spec], trained.parts.family)
    except TaskError as error:
        raise UserError(f"the agent of {run.path} plays other tasks: {error}") from None
    if isinstance(trained.parts.runner, Population):
        return trained.parts.runner.agent_of(spec.id), episodes or 1
    return trained.parts.player, episodes or trained.parts.problem.episodes


def _row(values: Tensor) -> NDArray[Any]:
    return values[0].cpu().numpy().copy()


def _short(values: NDArray[Any]) -> str:
    return np.array2string(values, precision=3, threshold=12, edgeitems=4, max_line_width=1000)
