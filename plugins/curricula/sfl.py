"""Sampling for learnability: of many tasks the agent trains on those that it solves now and then.

    learnability = p (1 - p), p the share of episodes that the agent solves

By turns: N new tasks are played several times each and only scored, and the K of highest learnability are kept; then,
for R rounds, a share of every round is drawn from these evenly and the rest is new, and the agent learns from both.
Tasks that it always solves or never does are not kept, and where there are no others all are new.

Reference: Rutherford et al. 2024, "No Regrets: Investigating and Improving Regret Approximations for Curriculum
Discovery", section 5 and algorithm 2. Settings of its mazes: N = 5000, K = 1000, R = 50, half of a round; Kinetix
(Matthews et al. 2025, appendix): N = 12288, K = 1024, R = 128, half.

Differences from the paper: a candidate is played a set number of times, not for a set number of steps; what is
drawn from those kept is drawn task by task, so that its share of a round is that share on average.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from registry.config import Config, Part
from registry.errors import CheckpointError, TaskError
from taskgen.borders import asked
from taskgen.build import SOURCES
from taskgen.curriculum import Wrapper
from taskgen.family import TaskFamily
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec
from taskgen.streams import uniforms

SHOWN = 8
"""Tasks that are worth a look."""


class SamplingForLearnabilityConfig(Config):
    """Settings of `SamplingForLearnability`."""

    source: Part = Field(
        Part(name="domain-randomization"), description="Where new tasks come from.", json_schema_extra={"kind": SOURCES}
    )
    candidates: int = Field(1000, ge=1, le=1_000_000, description="N: new tasks that are scored before some are kept.")
    plays: int = Field(4, ge=1, description="How often a candidate is played; one episode alone tells nothing.")
    kept: int = Field(100, ge=1, le=100_000, description="K: tasks of highest learnability that are kept.")
    refresh: int = Field(50, ge=1, description="R: rounds that are learned from before new candidates are scored.")
    share: float = Field(0.5, gt=0, le=1, description="Of the tasks of a round, the share drawn from those kept.")

    @model_validator(mode="after")
    def _some_are_chosen(self) -> Self:
        if self.kept >= self.candidates:
            raise ValueError(f"kept = {self.kept} of candidates = {self.candidates}: fewer are kept than are scored")
        return self


class Standing(Config):
    """Where it stands, beside its tasks."""

    scoring: bool = Field(default=True, description="Whether the round is one of candidates.")
    told_scoring: bool = Field(default=True, description="Whether the round told last was one.")
    scored: int = Field(default=0, ge=0, description="Candidates scored since the last refresh.")
    learned: int = Field(default=0, ge=0, description="Rounds learned from since then.")
    draws: int = Field(default=0, ge=0, description="Tasks of rounds learned from that were asked for.")
    plays: int = Field(default=0, ge=0, description="How often candidates were asked for since then.")


class _Stored(Config):
    standing: Standing = Field(description="See `Standing`.")
    kept: list[tuple[str, float]] = Field(description="Tasks as JSON text with the share solved, best first.")
    best: list[tuple[str, float]] = Field(description="The same of the candidates so far.")
    open: list[tuple[str, list[float]]] = Field(description="Candidates that were not played often enough yet.")
    candidate: str | None = Field(description="The last one.")


class SamplingForLearnability(Wrapper):
    """A `Curriculum`; the agent learns from rounds that mix tasks kept and new ones, and not from those of scoring."""

    def __init__(
        self, config: SamplingForLearnabilityConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence
    ) -> None:
        super().__init__({"source": config.source}, family=family, seed=seed)
        self.scores = frozenset({*self.scores, "success"})
        self._settings, self._family, self._seed = config, family, seed
        self._standing = Standing()
        self._kept: list[tuple[TaskSpec, float]] = []
        self._best: list[tuple[TaskSpec, float]] = []
        self._open: dict[str, tuple[TaskSpec, list[float]]] = {}
        self._candidate: TaskSpec | None = None

    def ask(self, n: int) -> list[TaskSpec]:
        """Exactly `n` tasks of the round: candidates, each several times in a row; or tasks kept and new ones."""
        return self._candidates(n) if self._standing.scoring else self._mixed(n)

    def _candidates(self, n: int) -> list[TaskSpec]:
        first = self._standing.plays
        begins = [number % self._settings.plays == 0 for number in range(first, first + n)]
        self._change(plays=first + n)
        new, specs = iter(asked(self.sources["source"], sum(begins))), list[TaskSpec]()
        for begin in begins:
            self._candidate = next(new) if begin or self._candidate is None else self._candidate
            specs.append(self._candidate)
        return specs

    def _mixed(self, n: int) -> list[TaskSpec]:
        luck = uniforms(self._seed, "mixed", 2 * self._standing.draws, 2 * n).reshape(n, 2)
        self._change(draws=self._standing.draws + n)
        again = (luck[:, 0] < self._settings.share) & bool(self._kept)
        new = iter(asked(self.sources["source"], int(n - again.sum())))
        places = (luck[:, 1] * len(self._kept)).astype(int)
        return [
            self._kept[place][0] if old else next(new)
            for place, old in zip(places.tolist(), again.tolist(), strict=True)
        ]

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Score candidates, or count a round that was learned from; a round of which nothing was played goes on."""
        super().tell(results)
        if not results:
            return
        standing, settings = self._standing, self._settings
        self._change(told_scoring=standing.scoring)
        if not standing.scoring:
            over = standing.learned + 1 == settings.refresh
            self._change(learned=0 if over else standing.learned + 1, scoring=over)
            return
        for result in results:
            self._score(result.spec, result.scores["success"])
        if self._standing.scored >= settings.candidates:
            self._kept, self._best, self._open = self._best, [], {}
            self._change(scoring=False, scored=0, plays=0)

    def _score(self, spec: TaskSpec, success: float) -> None:
        _, solved = self._open.setdefault(spec.id, (spec, []))
        solved.append(success)
        if len(solved) < self._settings.plays:
            return
        del self._open[spec.id]
        self._change(scored=self._standing.scored + 1)
        share = float(np.mean(solved))
        if 0.0 < share < 1.0:
            self._best = [(known, value) for known, value in self._best if known.id != spec.id]
            self._best.append((spec, share))
            self._best.sort(key=lambda pair: -round(learnability(pair[1]), 9))  # stable: of equals the first is kept
            del self._best[self._settings.kept :]

    def learns_from(self, specs: Sequence[TaskSpec]) -> list[bool]:
        """Candidates: no. Others: as their source says."""
        return [False] * len(specs) if self._standing.scoring else super().learns_from(specs)

    def updates(self, rounds: int, tasks: int) -> int:
        """Of so many rounds of so many tasks, how many the agent learns from."""
        scoring = math.ceil(self._settings.candidates * self._settings.plays / tasks)
        turns, rest = divmod(rounds, scoring + self._settings.refresh)
        return turns * self._settings.refresh + max(0, rest - scoring)

    def metrics(self) -> dict[str, float]:
        """Of the round just told, and of the tasks kept."""
        told = {"tasks/scoring": float(self._standing.told_scoring), "tasks/kept": float(len(self._kept))}
        if not self._kept:
            return {**super().metrics(), **told}
        shares = np.array([share for _, share in self._kept])
        kept = {"tasks/kept_success": shares.mean(), "tasks/kept_learnability": learnability(shares).mean()}
        return {**super().metrics(), **told, **{name: float(value) for name, value in kept.items()}}

    def highlights(self) -> Mapping[str, Sequence[TaskSpec]]:
        """Those kept that are most learnable."""
        return {**super().highlights(), "most learnable": [spec for spec, _ in self._kept[:SHOWN]]}

    def state_dict(self) -> dict[str, Any]:
        """Where the source stands, the tasks with what is known of them, and how far the streams were drawn."""
        stored = {
            "standing": self._standing.model_dump(),
            "kept": [(spec.to_json(), share) for spec, share in self._kept],
            "best": [(spec.to_json(), share) for spec, share in self._best],
            "open": [(spec.to_json(), list(solved)) for spec, solved in self._open.values()],
            "candidate": None if self._candidate is None else self._candidate.to_json(),
        }
        return {**super().state_dict(), "sfl": stored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for what does not fit or is no task of the family."""
        super().load_state_dict(state)
        try:
            stored = _Stored.model_validate(state.get("sfl"))
            self._kept = [(self._read(text), share) for text, share in stored.kept]
            self._best = [(self._read(text), share) for text, share in stored.best]
            found = [(self._read(text), solved) for text, solved in stored.open]
            self._candidate = None if stored.candidate is None else self._read(stored.candidate)
        except (TaskError, ValidationError) as error:
            raise CheckpointError(f"state of sfl: {error}") from None
        self._open = {spec.id: (spec, solved) for spec, solved in found}
        self._standing = stored.standing

    def _read(self, text: str) -> TaskSpec:
        spec = TaskSpec.from_json(text)
        self._family.check(spec)
        return spec

    def _change(self, **values: Any) -> None:
        self._standing = self._standing.model_copy(update=values)


def learnability(share: Any) -> Any:
    """p (1 - p) of the shares p of episodes that were solved."""
    return share * (1 - share)
