"""Robust PLR: Prioritized Level Replay whose agent learns from replays alone.

New tasks are played and scored without any gradient, so the agent only ever learns from curated tasks; at equilibrium
it then plays a minimax-regret policy.

Reference: Jiang et al. 2021, "Replay-Guided Adversarial Environment Design", section 4 and algorithm 1 (PLR with the
stop-gradient). Published settings are listed in `plugins.curricula.plr`, differences in `plugins.curricula.replay`.
"""

from typing import Any

import numpy as np

from plugins.curricula.replay import Replay, ReplayConfig
from taskgen.family import TaskFamily


class RobustLevelReplayConfig(ReplayConfig):
    """Settings of `RobustLevelReplay`."""


class RobustLevelReplay(Replay):
    """A `Curriculum`; the agent learns from replays alone."""

    robust = True

    def __init__(
        self, config: RobustLevelReplayConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence
    ) -> None:
        super().__init__(config, family=family, seed=seed)
