"""HyperX: VariBAD that is paid, while it learns, for hyper-states that are new to it and that its decoder gets wrong.

A hyper-state is the state and the belief about the task. Where it is new the policy has not been, or has not known what
it knows there; where the decoder is wrong the belief is not to be trusted yet. Both bonuses fall to zero in the course
of training.

*What adapts*: the belief b_t, as in `varibad`.  *What is meta-learned*: encoder, decoder, policy and values.

    r'_t = r_t + left (novelty_weight |predictor(s_t+1, b_t+1) - target(s_t+1, b_t+1)|^2
                       + error_weight E_{m ~ b_t+1} [ -log p(r_t | m, a_t, s_t+1) (- log p(s_t+1 | m, s_t, a_t)) ])
    left = 1 at the first update, 0 from `bonus_share` of all updates on; novelty in units of what all was at first

The error is that of a belief that has seen the step already: what is wrong then is for want of training, not of luck.

When it is judged it is paid nothing but the task's reward, and samples its actions.

Reference: Zintgraf, Feng, Lu, Igl, Hartikainen, Hofmann and Whiteson 2021, "Exploration in Approximate Hyper-State
Space for Meta Reinforcement Learning", section 4, equations 5 to 7.

Differences from the paper: those of `varibad`; novelty is in units of its mean at the first update, not divided by a
running deviation, so that it falls by itself where all has been visited.

Axes: T time (all episodes of the trial), B trials, N steps.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from agents.common.belief import certainty, drawn
from agents.common.belief_agent import BeliefAgent, BeliefAgentConfig
from agents.common.novelty import Novelty
from registry.config import Width
from taskgen.interaction.agent import Metrics, Problem, Rollout, Step, Trial


class HyperXConfig(BeliefAgentConfig):
    """Settings of `HyperX`."""

    novelty_weight: float = Field(1.0, ge=0, description="Weight of a hyper-state's novelty at first (paper, grid: 1).")
    error_weight: float = Field(1.0, ge=0, description="Weight of the decoder's error at first (paper, grid: 1).")
    bonus_share: float = Field(0.8, gt=0, le=1, description="Share of training in which both fall to zero.")
    novelty_hidden: tuple[Width, ...] = Field((64, 64), min_length=1, description="Widths of the novelty's networks.")
    novelty_outputs: int = Field(32, ge=1, description="What these networks put out (paper: 128).")
    novelty_rate: float = Field(1e-4, gt=0, description="Adam's learning rate of the predictor.")
    novelty_updates: int = Field(8, ge=1, description="Steps of the predictor for each of `learn`.")
    novelty_batch: int = Field(256, ge=1, description="Hyper-states of each such step.")


class HyperX(BeliefAgent[HyperXConfig]):
    """Carry: the encoder's hidden state [B, H]."""

    def __init__(self, config: HyperXConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        weights = {"novelty_weight": config.novelty_weight, "error_weight": config.error_weight}
        self.annealed_settings |= {name for name, weight in weights.items() if weight}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed + 1)
            self._novelty = Novelty(
                self.encode.observation_size + 2 * config.latent,
                config.novelty_hidden,
                config.novelty_outputs,
                observed=self.encode.observation_size,
                learning_rate=config.novelty_rate,
                device=problem.device,
            )

    @property
    def left(self) -> float:
        """What the bonuses are weighted by now: from 1 to 0."""
        return max(0.0, 1 - (1 - self.policy.left) / self.config.bonus_share)

    def learn(self, trial: Trial) -> Metrics:
        """PPO on rewards and bonuses, then encoder, decoder and the predictor of novelty on what was played."""
        rollout = trial.rollout
        states = self.hyper_states(rollout)
        bonuses = self.bonuses(rollout, states)
        told = {name: (bonus * rollout.valid).sum() / rollout.valid.sum() for name, bonus in bonuses.items()}
        figures = self.policy.learn(rollout, self.inputs(rollout), rollout.reward + sum(bonuses.values()))
        self._novelty.visit(
            states[rollout.valid],
            self.generator,
            updates=self.config.novelty_updates,
            batch=self.config.novelty_batch,
        )
        self.belief.keep(rollout)
        means = dict(zip(told, torch.stack(list(told.values())).tolist(), strict=True))
        return {**figures, **self.belief.learn(), **certainty(rollout), **means}

    def paid(self, rollout: Rollout) -> Tensor:
        """[T, B] the reward of the task, and both bonuses as they are weighted now."""
        return rollout.reward + sum(self.bonuses(rollout, self.hyper_states(rollout)).values())

    @torch.no_grad()
    def hyper_states(self, rollout: Rollout) -> Tensor:
        """[T, B, I] observation and belief after every step."""
        last = Step(
            rollout.next_observation[-1],
            rollout.action[-1],
            rollout.reward[-1],
            (rollout.terminated | rollout.truncated)[-1],  # as in the row that follows where others play on
            torch.zeros_like(rollout.trial_start[-1]),
            rollout.episode_index[-1],
        )
        seen = torch.cat([self.encode(rollout.steps), self.encode(last)[None]])
        return torch.cat(
            [self.encode.observation(rollout.next_observation), self.belief.encoder.sequence(seen)[1:]], -1
        )

    @torch.no_grad()
    def bonuses(self, rollout: Rollout, states: Tensor) -> dict[str, Tensor]:
        """Both [T, B], by the names of their metrics, as they are weighted now."""
        left, config = self.left, self.config
        belief = states[..., self.encode.observation_size :]
        noise = torch.randn(*belief.shape[:2], config.latent, generator=self.generator, device=belief.device)
        error = self.belief.step_errors(self.belief.decoder, drawn(belief, noise), rollout)
        return {
            "bonus/novelty": left * config.novelty_weight * self._novelty(states),
            "bonus/error": left * config.error_weight * error,
        }

    def state_dict(self) -> dict[str, Any]:
        """Also the networks of novelty."""
        return {**super().state_dict(), "novelty": self._novelty.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        super().load_state_dict(state)
        self._novelty.load_state_dict(state["novelty"])
