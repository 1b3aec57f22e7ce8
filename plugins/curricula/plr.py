"""Prioritized Level Replay: new tasks, and again those of the past that are most worth learning from.

    P(level) = (1 - rho) P_S + rho P_C,  P_S ~ (1 / rank(score))^(1 / beta) or score^(1 / beta)
    P_C ~ rounds since the level was played

A round is a replay with probability p, else new tasks; the agent learns from both.

Reference: Jiang, Grefenstette and Rocktaeschel 2021, "Prioritized Level Replay", sections 3.1-3.2 and algorithm 2; the
score's default is Rutherford et al. 2024, "No Regrets: Investigating and Improving Regret Approximations for Curriculum
Discovery", section 4. Differences: see `plugins.curricula.replay`.

Published settings of PLR, robust PLR and ACCEL (score; prioritisation, temperature, staleness; replay; capacity):

    Procgen PLR          value-l1;            rank,  0.1, 0.1; a level is seen before or not; 200 levels
    maze robust PLR      positive-value-loss; rank,  0.1, 0.3; 0.5; 4000   (the papers' released code; 25 walls)
    maze ACCEL           positive-value-loss; rank,  0.3, 0.3; 0.8; 4000
    walker robust PLR    positive-value-loss; rank,  0.1, 0.5; 0.5; 1000
    walker ACCEL         positive-value-loss; rank,  0.1, 0.5; 0.9; 1000
    racing robust PLR    positive-value-loss; power, 1.0, 0.7; 0.5; 8000
    maze PLR in JAX      max-mc;              rank,  0.3, 0.3; 0.8; 4000
"""

from typing import Any

import numpy as np

from plugins.curricula.replay import Replay, ReplayConfig
from taskgen.family import TaskFamily


class PrioritizedLevelReplayConfig(ReplayConfig):
    """Settings of `PrioritizedLevelReplay`."""


class PrioritizedLevelReplay(Replay):
    """A `Curriculum`; the agent learns from new tasks and from replays."""

    robust = False

    def __init__(
        self, config: PrioritizedLevelReplayConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence
    ) -> None:
        super().__init__(config, family=family, seed=seed)
