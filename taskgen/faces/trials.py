"""Trials as Gymnasium environments, so that anybody's recurrent learner learns to adapt: one episode is a trial.

A trial is a task from a source, played for K episodes of its own. What RL^2 (Duan et al. 2016, section 2.2) feeds back
is in the observation: the previous action, its reward, and whether it ended an episode of the task. The trial goes on
through these ends and is over, terminated, with the last of them; then the source is told the returns and asked for the
next task. `taskgen.make_sampler` is the same with one episode a task and nothing fed back.

Axes: N slots.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.spaces.utils import flatdim
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from registry.errors import UserError, brief
from taskgen.build import family_of
from taskgen.faces.resets import plain_seed, refuse_options
from taskgen.faces.vector import TaskVectorEnv
from taskgen.interaction.score import check_scores, score_returns
from taskgen.source import Curriculum, Paced, Sparing, TaskResult, TaskSource
from taskgen.spaces import Array, flattened, is_composite, pack
from taskgen.spec import TaskSpec

History = Literal["dict", "flat", "none"]


class TrialVectorEnv(VectorEnv[Any, Any, Any]):
    """N trials side by side; the tasks come from one source.

    `history` says what an observation is:

        "dict"  {"observation": the task's, "action": [A] the previous one, "reward": [1] what it was paid,
                "ended": [1] 1.0 where it ended an episode of the task}; zeros at the start of a trial. Actions are
                numbers, choices one-hot; what the task shows is flattened where it is a Dict or Tuple
        "flat"  all of these side by side, float32, in this order
        "none"  what the task shows, and nothing else

    A `reset` of all slots with a seed starts anew, as Gymnasium has it: noise goes by the seed, and so does the source
    where `rebuild` makes one of a seed; else the source goes back to where it was when it was given, with whatever it
    had been told forgotten. `infos` are those of `TaskVectorEnv`.
    """

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    single_observation_space: gym.Space[Any]
    single_action_space: gym.Space[Any]

    def __init__(
        self,
        source: TaskSource,
        *,
        episodes: int,
        num_envs: int,
        history: History = "dict",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        device: str = "cpu",
        rebuild: Callable[[int], TaskSource] | None = None,
    ) -> None:
        """Asks `source` for the first tasks. Raises `UserError` for one that others cannot learn from; see `refuse`."""
        for name, count in (("episodes", episodes), ("num_envs", num_envs)):
            if isinstance(count, bool) or not isinstance(plain_seed(count), int) or count < 1:
                raise UserError(f"{name} = {brief(count)}: expected an integer from 1 on")
        modes = [mode.value for mode in AutoresetMode]
        if autoreset_mode not in [*AutoresetMode, *modes]:
            raise UserError(f"autoreset_mode = {brief(autoreset_mode)}: expected one of {', '.join(modes)}")
        if history not in ("dict", "flat", "none"):
            raise UserError(f"history = {history!r}: expected 'dict', 'flat' or 'none'")
        self._source, self._episodes, self._history = source, episodes, history
        self._rebuild, self._given = rebuild, copy.deepcopy(source.state_dict())
        self.num_envs = num_envs
        self._queue: list[TaskSpec] = []
        self._results: list[TaskResult] = []
        specs = self._next_tasks(num_envs)
        self.family = family_of(specs[0])
        refuse(source, specs[0], episodes, num_envs)
        self._envs = TaskVectorEnv(specs, device=device)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.render_mode = None
        self.single_action_space = copy.deepcopy(self._envs.single_action_space)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.single_observation_space = self._observed(self._envs.single_observation_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._begun = np.zeros(num_envs, dtype=np.bool_)
        """Where a trial of the slot's task has begun, so that a reset calls for another task."""
        self._over = np.zeros(num_envs, dtype=np.bool_)
        self._played = np.zeros(num_envs, dtype=np.int64)
        self._returns = np.zeros((2, episodes, num_envs))
        """In what tasks pay and in the family's own reward."""
        self._solved = np.zeros((episodes, num_envs), dtype=np.bool_)
        """Whether the task was done after a step of the episode, of a family that tells."""
        self._action = np.zeros((num_envs, flatdim(self.single_action_space)), dtype=np.float32)
        self._reward, self._ended = (np.zeros((num_envs, 1), dtype=np.float32) for _ in range(2))

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """The task of every slot's trial."""
        return self._envs.tasks

    @property
    def over(self) -> bool:
        """Whether the trial of any slot is over and waits for its next reset."""
        return bool(self._over.any())

    def reset(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start a trial of a new task in all slots, or where the bool array `options["reset_mask"]` [N] is true.

        A trial that was cut by it is not told to the source.
        """
        refuse_options(options, ("reset_mask",))
        mask = np.ones(self.num_envs, np.bool_) if options is None else options.get("reset_mask", True)
        where = np.broadcast_to(np.asarray(mask, np.bool_), (self.num_envs,))
        seeds = [seed] if seed is None or not isinstance(seed, Sequence) else seed
        if where.all() and (known := [plain_seed(one) for one in seeds if one is not None]):
            self._restart(known[0])
        self._replace(where & self._begun)
        observation, infos = self._envs.reset(seed=seed, options=options)
        self._begin(where)
        return self._with_history(observation), infos

    def step(self, actions: Any) -> tuple[Any, Array, Array, Array, dict[str, Any]]:
        """As `gymnasium.vector.VectorEnv.step`; the end of a task's episode starts the next one at once.

        Raises as `TaskVectorEnv.step`, and with `AutoresetMode.DISABLED` where a trial is over.
        """
        if self.autoreset_mode is AutoresetMode.DISABLED and self._over.any():
            slots = ", ".join(map(str, np.flatnonzero(self._over)[:5]))
            raise gym.error.ResetNeeded(f"the trial is over in slot {slots}: reset(options={{'reset_mask': ...}})")
        anew = self._over
        observation, reward, terminated, truncated, infos = self._envs.step(actions)
        ended = (terminated | truncated) & ~anew
        self._count(reward, infos, ~anew)
        self._played += ended
        self._over = over = ended & (self._played == self._episodes)
        if (inside := ended & ~over).any():
            observation, _ = self._envs.reset(options={"reset_mask": inside})
        self._action = flattened(self.single_action_space, pack(self.single_action_space, actions))
        self._reward[:, 0], self._ended[:, 0] = reward, ended
        self._begin(anew)
        if over.any():
            self._finish(over)
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                infos |= _final(self._with_history(observation), over)
                observation, _ = self._envs.reset(options={"reset_mask": over})
                self._begin(over)
        return self._with_history(observation), reward, over.copy(), np.zeros_like(over), infos

    def _restart(self, seed: int) -> None:
        """The source begins anew."""
        if self._rebuild is not None:
            self._source = self._rebuild(seed)
        else:
            self._source.load_state_dict(copy.deepcopy(self._given))
        self._queue, self._results = [], []
        self._begun[:] = False
        self._envs.set_tasks(self._next_tasks(self.num_envs))

    def _begin(self, where: NDArray[np.bool_]) -> None:
        """The slots `where` are at the start of a trial."""
        self._begun |= where
        self._over = self._over & ~where
        self._played[where] = 0
        self._returns[:, :, where] = 0.0
        self._solved[:, where] = False
        for fed_back in (self._action, self._reward, self._ended):
            fed_back[where] = 0.0

    def _count(self, reward: Array, infos: Mapping[str, Any], where: NDArray[np.bool_]) -> None:
        """Add a step to the returns of the episodes being played."""
        own = np.where(infos.get("_family_reward", False), infos.get("family_reward", 0.0), reward)
        slots = np.flatnonzero(where)
        self._returns[:, self._played[slots], slots] += np.stack([reward, own])[:, slots]
        if self.family.tells_success:
            told = infos.get("success", np.zeros_like(where))  # not where all slots are reset at once
            self._solved[self._played[slots], slots] |= told[slots]

    def _finish(self, over: NDArray[np.bool_]) -> None:
        """Keep the results of trials that are over, tell the source when there is one for every slot, get new tasks."""
        slots = np.flatnonzero(over)
        if self._source.feedback:
            specs = [self.tasks[slot] for slot in slots]
            paid, own = self._returns[:, :, slots]
            wanted = self._source.scores if isinstance(self._source, Curriculum) else ()
            solved = self._solved[:, slots] if self.family.tells_success else None
            self._results += score_returns(specs, paid, own, self.family, wanted, solved)
            if len(self._results) >= self.num_envs:
                self._source.tell(self._results)
                self._results = []
        self._replace(over)

    def _replace(self, where: NDArray[np.bool_]) -> None:
        """From their next reset on the slots `where` play tasks that the source gives next."""
        if slots := np.flatnonzero(where).tolist():
            self._envs.set_tasks(self._next_tasks(len(slots)), slots)
            self._begun[slots] = False

    def _next_tasks(self, n: int) -> list[TaskSpec]:
        """The next `n`, asked for as many as there are slots."""
        while len(self._queue) < n:
            self._queue += self._source.ask(self.num_envs)
        given, self._queue = self._queue[:n], self._queue[n:]
        return given

    def _observed(self, space: gym.Space[Any]) -> gym.Space[Any]:
        """The space of one slot's observations, of which `space` is what the task shows."""
        if self._history == "none":
            return copy.deepcopy(space)
        fed_back = {
            "action": _numbers(flatdim(self.single_action_space)),
            "reward": _numbers(1),
            "ended": Box(0.0, 1.0, (1,)),
        }
        if self._history == "dict":
            return Dict(
                {"observation": _numbers(flatdim(space)) if is_composite(space) else copy.deepcopy(space), **fed_back}
            )
        return _numbers(flatdim(space) + sum(flatdim(part) for part in fed_back.values()))

    def _with_history(self, observation: Any) -> Any:
        if self._history == "none":
            return observation
        space = self._envs.single_observation_space
        fed_back = {"action": self._action, "reward": self._reward, "ended": self._ended}
        if self._history == "dict":
            shown = flattened(space, pack(space, observation)) if is_composite(space) else observation
            return {"observation": shown, **{name: values.copy() for name, values in fed_back.items()}}
        return np.concatenate([flattened(space, pack(space, observation)), *fed_back.values()], axis=1)


class TrialEnv(gym.Env[Any, Any]):
    """One trial at a time: a `TrialVectorEnv` with one slot."""

    def __init__(
        self,
        source: TaskSource,
        *,
        episodes: int,
        history: History = "dict",
        device: str = "cpu",
        rebuild: Callable[[int], TaskSource] | None = None,
    ) -> None:
        """As `TrialVectorEnv`."""
        self._envs = TrialVectorEnv(
            source,
            episodes=episodes,
            num_envs=1,
            history=history,
            autoreset_mode=AutoresetMode.DISABLED,
            device=device,
            rebuild=rebuild,
        )
        self.family = self._envs.family
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space

    @property
    def task(self) -> TaskSpec:
        """The task of the trial."""
        return self._envs.tasks[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start a trial of a new task. There are no options: any is refused with `gymnasium.error.Error`."""
        refuse_options(options)
        super().reset(seed=seed)
        observation, infos = self._envs.reset(seed=seed)
        return _row(observation), _infos(infos)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env.step`; the end of a task's episode starts the next one at once.

        Raises `gymnasium.error.InvalidAction` outside the action space, `ResetNeeded` where the trial is over.
        """
        if self._envs.over:
            raise gym.error.ResetNeeded("the trial is over: call reset(), which begins one of another task")
        observation, reward, over, _, infos = self._envs.step(_one(action))
        return _row(observation), float(reward[0]), bool(over[0]), False, _infos(infos)


def refuse(source: TaskSource, spec: TaskSpec, episodes: int, slots: int) -> None:
    """Raise `UserError`, by name, for a source that cannot be honoured where somebody else learns.

    That is one that goes by scores which need the agent's values, that decides how long trials are, or that keeps the
    agent from learning from some of its tasks.
    """
    if isinstance(source, Curriculum):
        check_scores(source.scores, cast(Any, YourLearner()), family_of(spec), episodes)
    name = type(source).__name__
    if isinstance(source, Paced) and source.lengths:
        raise UserError(f"{name} decides how long trials are, which are of {episodes} episodes here: take its source")
    rounds = 10_000
    if isinstance(source, Sparing) and source.updates(rounds, slots) < rounds:
        raise UserError(
            f"{name} scores tasks that are not to be learned from, and your learner would learn from all: take plr, or "
            "train an agent of ours on it"
        )


class YourLearner:
    """Stands for a learner that is not ours, of which no values are known."""


def _numbers(count: int) -> Box:
    return Box(-np.inf, np.inf, (count,))


def _final(observation: Any, over: NDArray[np.bool_]) -> dict[str, Any]:
    """The last observations of trials that are over, as Gymnasium lays them out."""
    final: NDArray[Any] = np.full(len(over), None, dtype=object)
    for slot in np.flatnonzero(over).tolist():
        final[slot] = _row(observation, slot)
    return {"final_obs": final, "_final_obs": over.copy()}


def _row(observation: Any, slot: int = 0) -> Any:
    if isinstance(observation, Mapping):
        return {name: _row(values, slot) for name, values in cast(Mapping[str, Any], observation).items()}
    if isinstance(observation, tuple):
        return tuple(_row(values, slot) for values in cast(tuple[Any, ...], observation))
    return observation[slot]


def _one(action: Any) -> Any:
    """`action` as those of one slot."""
    if isinstance(action, Mapping):
        return {name: _one(value) for name, value in cast(Mapping[str, Any], action).items()}
    if isinstance(action, tuple):
        return tuple(_one(value) for value in cast(tuple[Any, ...], action))
    return np.asarray(action)[None]


def _infos(infos: Mapping[str, Any]) -> dict[str, Any]:
    """Those of one slot."""
    return {name: values[0].item() for name, values in infos.items() if not name.startswith("_")}
