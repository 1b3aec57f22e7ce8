"""Our agents judged by Meta-World's own `metalearning_evaluation`.

Its protocol: on goals of the test side an agent plays `adaptation_episodes`, then `evaluation_episodes` that end where
they succeed, and the share of those that do is the figure. A `TrialPlayer` a task is what adapts; each episode of the
evaluation goes on from where adaptation has led, and knows nothing of the others.

Three things of Meta-World 3.1.1 would make the figure another one, and are kept out:

- It counts the first episodes to finish among all environments of one class, and an episode that succeeds finishes
  sooner: of an agent that solves one goal of 10 it counts three successes of three. So there is one environment a
  class, and more are refused.
- Its id `Meta-World/ML1-train` serves test goals. The environments are made by function, not by id.
- Agents are told no rewards in the evaluation, and with its `recurrent_info_in_obs` never of an end. What comes of each
  step is taken from the environments themselves, at an end the last observation, not the first of the next episode.

Reference: Yu et al. 2019, Meta-World, section 4; `metaworld.evaluation`.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.errors import UserError
from taskgen.engines import sawyer
from taskgen.interaction.playing import TrialPlayer

Floats = NDArray[np.floating[Any]]


class Judged(NamedTuple):
    """What Meta-World finds."""

    success: float
    """Share of evaluation episodes that succeed, the mean over environments."""
    episodic_return: float
    """Mean return of an evaluation episode, which ends where it succeeds."""
    by_environment: dict[str, float]
    """`success` by environment."""


def judge(
    trial: Callable[[int | None], TrialPlayer],
    benchmark: str = "reach-v3",
    *,
    split: str = "test",
    seed: int = 0,
    evals: int = 10,
    adaptation_episodes: int = 10,
    evaluation_episodes: int = 3,
) -> Judged:
    """Run Meta-World's `metalearning_evaluation` on an agent of ours.

    Args:
        trial: makes the player of a trial of so many episodes, or as in training: `agents.api.LoadedAgent.trial`.
        benchmark: ML10, ML45, or an environment such as reach-v3, which is ML1 of it.
        split: whose goals: "test" or "train".
        seed: of Meta-World's goals; those of test are the goals of training of the next seed.
        evals: goals of each environment that are played, of 50.
        adaptation_episodes: before the evaluation.
        evaluation_episodes: on each goal.

    Raises:
        UserError: Meta-World is not installed; the agent does not adapt after so many episodes, or is told the task.
    """
    try:
        evaluation: Any = importlib.import_module("metaworld.evaluation")
    except ImportError as error:
        advice = "pip install 'taskgen-metarl[metaworld]'"
        raise UserError(f"{benchmark} is of metaworld, which cannot be imported ({error}): {advice}") from error
    envs = environments(benchmark, split, seed)
    try:
        learner = MetaLearner(trial, envs.num_envs, adaptation_episodes)
        settings = {"adaptation_episodes": adaptation_episodes, "evaluation_episodes": evaluation_episodes}
        success, earned, each = evaluation.metalearning_evaluation(
            learner, Told(envs, learner), num_evals=evals, **settings
        )
    finally:
        envs.close()
    return Judged(float(success), float(earned), {name: float(value) for name, value in each.items()})


def environments(benchmark: str, split: str = "test", seed: int = 0) -> Any:
    """Meta-World's vector environment of a benchmark, one environment a class. Raises `UserError`."""
    known = (*sawyer.classes(), "ML10", "ML45")
    if benchmark not in known or split not in ("train", "test"):
        raise UserError(f"{benchmark}, {split}: expected ML10, ML45 or an environment such as reach-v3, train or test")
    several = benchmark in ("ML10", "ML45")
    count = len(sawyer.sides(benchmark)[split == "test"]) if several else 1
    make: Any = importlib.import_module("metaworld").make_ml_envs  # pyright: ignore[reportAttributeAccessIssue]
    return make(
        benchmark, seed=seed, split=split, meta_batch_size=count, terminate_on_success=False, task_select="pseudorandom"
    )


class MetaLearner:
    """An agent as `metalearning_evaluation` wants one, to be played in `Told` of its environments.

    Raises `UserError` for an agent that has not adapted after so many `episodes`, or that cannot play a trial.
    """

    def __init__(self, trial: Callable[[int | None], TrialPlayer], count: int, episodes: int = 10) -> None:
        plan = trial(None).plan
        last = 1 if plan.rounds == 1 else plan.episodes_per_round
        if episodes < 1 or episodes % last:
            raise UserError(f"adaptation_episodes = {episodes}: this agent adapts after every {last}")
        self._begin, self._count, self._episodes = trial, count, episodes + last
        self._trials: list[TrialPlayer] = []
        self._adapted: list[TrialPlayer] = []

    def init(self) -> None:
        """Other goals: trials begin."""
        self._trials = [self._begin(self._episodes) for _ in range(self._count)]

    def adapt_action(self, observations: Floats) -> tuple[Floats, dict[str, Any]]:
        """Actions [N, 4] of episodes in which the agent adapts, and nothing besides."""
        return self.eval_action(observations), {}

    def eval_action(self, observations: Floats) -> Floats:
        """Actions [N, 4]."""
        return np.stack([trial.act(seen) for trial, seen in zip(self._trials, observations, strict=True)])

    def told(self, answer: Any) -> None:
        """What came of the actions, as a vector environment says that begins the next episode in the same step."""
        seen, reward, terminated, truncated, infos = answer
        for place, trial in enumerate(self._trials):
            flags = bool(terminated[place]), bool(truncated[place])
            trial.observe(infos["final_obs"][place] if any(flags) else seen[place], float(reward[place]), *flags)

    def step(self, timestep: object) -> None:
        """It was `told` already."""

    def adapt(self) -> None:
        """Adaptation is over: episodes begin from here from now on."""
        self._adapted = self._trials

    def reset(self, env_mask: NDArray[np.bool_]) -> None:
        """Begin an episode of the evaluation where `env_mask` [N]."""
        pairs = zip(self._adapted, self._trials, env_mask, strict=True)
        self._trials = [adapted.fork() if anew else going for adapted, going, anew in pairs]


class Told:
    """Meta-World's environments `envs`, which tell `learner` what comes of every step.

    Raises `UserError` for several environments of a class.
    """

    def __init__(self, envs: Any, learner: MetaLearner) -> None:
        names: Sequence[str] = envs.get_attr("task_name")
        if len(set(names)) < len(names):
            raise UserError(
                f"{len(names)} environments of {len(set(names))} classes: metalearning_evaluation counts the first "
                "episodes of a class that finish, which are those that succeed; make one of each, with meta_batch_size"
            )
        self._envs, self._learner = envs, learner

    def step(self, actions: Floats) -> Any:
        """See `gymnasium.vector.VectorEnv.step`."""
        answer = self._envs.step(actions)
        self._learner.told(answer)
        return answer

    def __getattr__(self, name: str) -> Any:
        """All else is that of the environments."""
        return getattr(self._envs, name)
