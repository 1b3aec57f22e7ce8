"""`Replay`: what PLR, robust PLR and ACCEL share, rounds of new tasks and rounds of tasks from a buffer of levels.

`Rounds` is what it shares with those that keep other tasks, and draw otherwise from them.

A round is what is asked between two `tell`s, so all tasks of a batch are new or all are replays, as published. What
the next round is, is drawn in `tell`; once the buffer has its minimum fill it is a replay with probability p.

References: Jiang et al. 2021, "Prioritized Level Replay", algorithms 1-2; Jiang et al. 2021, "Replay-Guided Adversarial
Environment Design", algorithm 1.

Differences from the papers: a round's replays are drawn independently, so that a level may come several times, and
counts with the mean of its scores; staleness is counted in rounds. MaxMC's largest return is that of an episode, so it
fits agents whose values look ahead to the end of the episode, or trials of one episode. The value losses are means over
the steps of a trial, not of a stretch of equal length for all, so they favour levels that end soon.

Currencies, where tasks are paid by a reward of their own: a level's mean return is in that of its score, the reward
paid or the family's (see `taskgen.interaction.score`); its largest return, which MaxMC needs, is in the reward paid.

Axes: R results of a round, N levels of the buffer.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationError

import registry
from plugins.curricula.levels import Floats, Levels, Places, Prioritisation, replay_weights
from registry.config import Config, Part
from registry.errors import CheckpointError, UserError
from taskgen.borders import asked
from taskgen.build import SOURCES
from taskgen.curriculum import Wrapper
from taskgen.family import TaskFamily, hardness
from taskgen.interaction.score import SCORES
from taskgen.record import Record
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec
from taskgen.streams import uniforms

MAX_MC = "max-mc"
_VALUE = "mean-value"
SHOWN = 8
"""Levels of each kind that are worth a look."""

Round = Literal["new", "replay", "edit"]


class RoundsConfig(Config):
    """Settings of all curricula that replay what they keep."""

    source: Part = Field(
        Part(name="domain-randomization"),
        description="Where new tasks come from.",
        json_schema_extra={"kind": SOURCES},
    )
    score: str = Field(
        "learnability",
        description=f"What a level is worth: a score of `taskgen.interaction.score`, or {MAX_MC}, its largest return "
        f"so far less {_VALUE}.",
    )
    replay: float = Field(0.8, ge=0, le=1, description="p: probability that a round is a replay.")


class ReplayConfig(RoundsConfig):
    """Settings that all replay curricula share."""

    prioritisation: Prioritisation = Field(
        "rank", description="Probability of replay by the rank of the score, or by its power (in proportion to it)."
    )
    temperature: float = Field(0.3, gt=0, description="beta: the higher, the more alike are the probabilities.")
    staleness: float = Field(
        0.3, ge=0, le=1, description="rho: share of the probabilities that goes by the time since the last play."
    )
    capacity: int = Field(4000, ge=1, le=1_000_000, description="Levels that the buffer holds.")
    minimum_fill: float = Field(0.5, ge=0, le=1, description="Share of the buffer to be filled before any replay.")


class Standing(Config):
    """Where a replay curriculum stands, beside its levels."""

    round: Round = Field("new", description="What is asked now.")
    told: Round = Field("new", description="What was told last.")
    rounds: int = Field(0, ge=0, description="Rounds told.")
    draws: int = Field(0, ge=0, description="Replays drawn.")


class Rounds(Wrapper, ABC):
    """Base of curricula that keep tasks of the past: a subclass says what a round is, and which of them it replays."""

    robust: ClassVar[bool]
    """Whether new tasks are only scored, and the agent learns from replays alone."""

    def __init__(
        self, config: RoundsConfig, levels: Levels, *, family: TaskFamily[Any], seed: np.random.SeedSequence
    ) -> None:
        super().__init__({"source": config.source}, family=family, seed=seed)
        self.scores = frozenset({*self.scores, _VALUE if config.score == MAX_MC else config.score})
        self._paid = config.score == MAX_MC or (config.score in SCORES and SCORES[config.score].paid)
        self._maker = registry.catalogue().get(SOURCES, config.source.name)
        self._worth = config.score
        self._family = family
        self._seed = seed
        self._levels = levels
        self._figures = tuple(hardness(family, family.spec().context))
        self._hardness = np.zeros((levels.capacity, len(self._figures)))  # NaN where a level has no such figure
        self._round: Round = "new"
        self._rounds = 0
        self._draws = 0
        self._told: Round = "new"
        self._probability: Floats | None = None  # [N] of replay, until something is told

    def ask(self, n: int) -> list[TaskSpec]:
        """Exactly `n` tasks of the round."""
        if self._round == "new":
            return asked(self.sources["source"], n)
        reach = np.cumsum(self._weights())
        luck = uniforms(self._seed, "replay", self._draws, n)
        self._draws += n
        places = np.searchsorted(reach, luck * reach[-1], side="right").clip(max=len(self._levels) - 1)
        return [self._levels.specs[place] for place in places.tolist()]

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Score levels, keep the best, choose what the next round is; a round of which nothing was played goes on.

        Raises `UserError` for a score that is no finite number.
        """
        if self.sources["source"].feedback:
            super().tell(results)
        if not results:
            return
        self._rounds += 1
        self._told, specs = self._round, [result.spec for result in results]
        places = self._levels.find(specs)
        score, result, best = self._values(results, places)
        known, new = places >= 0, np.flatnonzero(places < 0)
        self._levels.update(
            places[known],
            self._rounds,
            score=score[known],
            result=result[known],
            best=best[known],
            replayed=self._round == "replay",
        )
        self._offer([specs[number] for number in new], score[new], result[new], best[new])
        self._probability = None
        self._round = self._next(np.unique(places[known]))

    def learns_from(self, specs: Sequence[TaskSpec]) -> list[bool]:
        """Replays: yes. New tasks: as their source says, or no."""
        if self._round == "new" and not self.robust:
            return super().learns_from(specs)
        return [self._round == "replay"] * len(specs)

    def metrics(self) -> dict[str, float]:
        """Of the round just told, and of the levels in the buffer."""
        levels, hard = self._levels, self._hardness[: len(self._levels)]
        told = {"tasks/replay_share": float(self._told == "replay"), "tasks/buffer_fill": self._fill}
        if not len(levels):
            return {**super().metrics(), **told}
        low, middle, high = np.quantile(levels["score"], (0.1, 0.5, 0.9)).tolist()
        known = np.isfinite(hard).sum(0)
        means = np.nan_to_num(hard).sum(0) / known.clip(min=1)
        return {
            **super().metrics(),
            **told,
            "tasks/score_low": low,
            "tasks/score_median": middle,
            "tasks/score_high": high,
            "tasks/staleness": float((self._rounds - levels["played"]).mean()),
            "tasks/generation": float(levels["generation"].mean()),
            **{
                f"tasks/mean_{name}": float(mean)
                for name, mean, count in zip(self._figures, means, known, strict=True)
                if count
            },
        }

    def highlights(self) -> Mapping[str, Sequence[TaskSpec]]:
        """Levels of the buffer by the agent's return when it last played them, and by how often they were replayed."""
        result, score, replays = (self._levels[name] for name in ("result", "score", "replays"))
        orders = {
            "easiest": np.lexsort((-score, -result)),
            "hardest": np.lexsort((-score, result)),
            "most replayed": np.argsort(-replays, kind="stable"),
        }
        return {title: [self._levels.specs[i] for i in order[:SHOWN].tolist()] for title, order in orders.items()}

    def lineage(self, spec: TaskSpec) -> list[Record]:
        """What is known of a level of the buffer; nothing of what is not there."""
        place = int(self._levels.find([spec])[0])
        if place < 0:
            return []
        names = {"score": self._worth, "result": "return", "replays": "replays"}
        scores = {name: float(self._levels[column][place]) for column, name in names.items()}
        generation = int(self._levels["generation"][place])
        return [Record(spec, self._maker.full_name, self._maker.version, (), generation, None, scores)]

    def state_dict(self) -> dict[str, Any]:
        """Where the source stands, the levels, what the round is and how far the streams were drawn."""
        standing = Standing(round=self._round, told=self._told, rounds=self._rounds, draws=self._draws)
        return {**super().state_dict(), "standing": standing.model_dump(), "levels": self._levels.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for what does not fit."""
        super().load_state_dict(state)
        try:
            standing = Standing.model_validate(state.get("standing"), strict=True)
        except ValidationError as error:
            raise CheckpointError(f"state of {type(self).__name__}: {error}") from None
        self._levels.load_state_dict(state.get("levels"), self._family)
        if standing.round != "new" and not len(self._levels):
            raise CheckpointError(f"state of {type(self).__name__}: a round of {standing.round}, but no levels")
        self._round, self._told = standing.round, standing.told
        self._rounds, self._draws = standing.rounds, standing.draws
        self._measure(np.arange(len(self._levels)))
        self._probability = None

    @property
    def _fill(self) -> float:
        return len(self._levels) / self._levels.capacity

    @abstractmethod
    def _draw(self) -> Floats:
        """[N] probabilities of replay."""

    @abstractmethod
    def _next(self, places: Places) -> Round:
        """What the next round is, now that the levels at these places were played."""

    def _weights(self) -> Floats:
        """[N] probabilities of replay, which change in `tell` alone."""
        if self._probability is None:
            self._probability = self._draw()
        return self._probability

    def _origin(self, spec: TaskSpec) -> str | None:
        """An edited level came from no source."""
        if self._round == "new":
            return "source"
        place = self._levels.find([spec])[0]
        return None if place < 0 or self._levels["generation"][place] else "source"

    def _values(self, results: Sequence[TaskResult], places: Places) -> tuple[Floats, Floats, Floats]:
        """[R] each: score, mean return in its currency, largest return paid so far.

        Raises `UserError` for a score that is not finite.
        """
        returns = [np.array(result.returns) for result in results]
        best = np.array([values.max() for values in returns])
        if len(self._levels):
            best = np.where(places >= 0, np.maximum(best, self._levels["best"][places]), best)
        if self._worth == MAX_MC:
            score = best - np.array([result.scores[_VALUE] for result in results])
        else:
            score = np.array([result.scores[self._worth] for result in results])
        if not np.isfinite(score).all():
            worst = results[int(np.argmin(np.isfinite(score)))]
            raise UserError(f"score {self._worth} of task {worst.spec.id} is not finite: training diverged")
        if not self._paid:
            returns = [np.array(result.family_returns or result.returns) for result in results]
        return score, np.array([values.mean() for values in returns]), best

    def _offer(self, specs: Sequence[TaskSpec], score: Floats, result: Floats, best: Floats) -> None:
        """Levels that are not in the buffer ask for a place."""
        generation = self._generations(specs)
        places = self._levels.offer(specs, self._rounds, score=score, result=result, best=best, generation=generation)
        self._measure(places[places >= 0])
        self._keep(places[places >= 0])

    def _generations(self, specs: Sequence[TaskSpec]) -> Places:
        """[R] how many edits each new level is away from one that the source made."""
        return np.zeros(len(specs), dtype=np.int64)

    def _keep(self, places: Places) -> None:
        """New levels got these places."""

    def _measure(self, places: Places) -> None:
        """How hard the levels at these places are."""
        for place in places.tolist():
            found = hardness(self._family, self._levels.specs[place].context)
            self._hardness[place] = [found.get(name, np.nan) for name in self._figures]


class Replay(Rounds):
    """Base of replay curricula: a subclass says whether it is robust, and may add rounds of its own."""

    def __init__(self, config: ReplayConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        super().__init__(config, Levels(config.capacity), family=family, seed=seed)
        self._settings = config

    def updates(self, rounds: int, tasks: int) -> int:
        """Of so many rounds of so many tasks, how many the agent is expected to learn from."""
        if not self.robust:
            return rounds
        filling = math.ceil(self._settings.minimum_fill * self._settings.capacity / tasks)
        return round(max(0, rounds - filling) * self._replayed_rounds)

    @property
    def _replayed_rounds(self) -> float:
        """Share of the rounds that are expected to be replays, once the buffer has its minimum fill."""
        return self._settings.replay

    def _draw(self) -> Floats:
        """[N] by the score and by the time since the last play."""
        age, rule = (self._rounds - self._levels["played"]).astype(np.float64), self._settings
        return replay_weights(self._levels["score"], age, rule.prioritisation, rule.temperature, rule.staleness)

    def _next(self, places: Places) -> Round:
        """What the next round is, now that the levels at these places were played."""
        if not len(self._levels) or self._fill < self._settings.minimum_fill:
            return "new"
        luck = float(uniforms(self._seed, "round", self._rounds, 1)[0])
        return "replay" if luck < self._settings.replay else "new"
