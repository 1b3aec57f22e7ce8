"""VariBAD: a policy that acts on its belief about the task, which a recurrent encoder infers and a decoder teaches.

The posterior over a latent of the task is inferred from the trial so far and kept across its episodes; it is learned by
predicting all rewards of the trial from it. The policy sees the observation and the posterior's mean and deviation, and
so learns when to explore: the optimal policy of the belief's MDP is the Bayes-optimal one.

*What adapts*: the belief b_t = q(m | tau_:t), over all episodes of a trial.  *What is meta-learned*: encoder, decoder,
policy and values.

    max_{encoder, decoder}  E_trial sum_t ELBO_t   (see `common.belief`)
    max_policy  E_task E_trial [ sum_t discount^t r_t ],  a_t ~ pi(. | s_t, b_t),  b_t a constant

Reference: Zintgraf, Shiarlis, Igl, Schulze, Gal, Hofmann and Whiteson 2020, "VariBAD", sections 3.1 to 3.3.

Differences from the paper: the bound is averaged over a sample of a trial's steps, not summed over all; the belief of
the first step has seen the first observation; value targets are shifted by their mean at each step of the trial and
scaled by one running standard deviation.

Axes: T time (all episodes of the trial), B trials.
"""

from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from agents.common.belief import BeliefEncoder, TrialDecoder, evidence_terms
from agents.common.descent import descend
from agents.common.distributions import Distribution, PolicyHead
from agents.common.encoding import StepEncoder
from agents.common.losses import approximate_kl, clipped_surrogate, weighted_mean
from agents.common.replay import Replay
from agents.common.returns import generalized_advantages
from agents.networks.mlp import mlp
from registry.config import Config, Width
from taskgen.interaction.agent import Action, Carry, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class VariBADConfig(Config):
    """Settings of `VariBAD`."""

    latent: int = Field(5, ge=1, description="Width of the latent (paper: 5).")
    encoder_hidden: int = Field(64, ge=1, description="Width of the encoder's recurrence (paper: 64).")
    decoder_hidden: tuple[Width, ...] = Field((64, 64), min_length=1, description="Widths of the decoder's layers.")
    decode_states: bool = Field(default=False, description="Predict next observations too, where dynamics differ.")
    kl_weight: float = Field(0.1, ge=0, description="Weight of the divergence between beliefs of successive steps.")
    encoder_rate: float = Field(1e-3, gt=0, description="Adam's learning rate of encoder and decoder (paper: 1e-3).")
    encoder_updates: int = Field(8, ge=1, description="Steps of encoder and decoder for each of `learn`.")
    encoder_trials: int = Field(64, ge=1, description="Trials of each such step.")
    beliefs: int = Field(16, ge=1, description="Beliefs of a trial, of random steps, that are judged in it.")
    kept: int = Field(1000, ge=1, description="Latest trials that encoder and decoder learn from.")
    hidden: tuple[Width, ...] = Field((64,), min_length=1, description="Widths of policy and value networks.")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate of policy and values (paper: 7e-4).")
    discount: float = Field(0.97, ge=0, le=1, description="Discount per step, over the whole trial (paper: 0.95).")
    trace: float = Field(0.95, ge=0, le=1, description="GAE's lambda (paper: 0.95).")
    epochs: int = Field(4, ge=1, description="Passes over the steps of a batch.")
    minibatches: int = Field(4, ge=1, description="Minibatches per pass.")
    clip: float = Field(0.2, gt=0, description="PPO's clipping range (paper: 0.05).")
    entropy: float = Field(0.02, ge=0, description="Initial weight of the entropy bonus; falls linearly to zero.")
    gradient_norm: float = Field(0.5, gt=0, description="Gradients are scaled down to this norm.")
    std: float = Field(1.0, gt=0, description="Initial standard deviation of a continuous action, in half-ranges.")


class _Policy(nn.Module):
    """Policy and value function of observation and belief, two networks."""

    def __init__(self, config: VariBADConfig, problem: Problem, inputs: int) -> None:
        super().__init__()
        sizes = (inputs, *config.hidden)
        self.actor, self.critic = mlp(sizes, nn.Tanh), mlp(sizes, nn.Tanh)
        self.policy_head = PolicyHead(sizes[-1], problem.action_space, std=config.std)
        self.value_head = nn.Linear(sizes[-1], 1)

    def forward(self, inputs: Tensor) -> tuple[Distribution, Tensor]:
        """[..., I] -> action distribution, normalised value [...]."""
        return self.policy_head(self.actor(inputs)), self.value_head(self.critic(inputs))[..., 0]


class VariBAD:
    """Carry: the encoder's hidden state [B, H]."""

    needs_descriptor = False

    def __init__(self, config: VariBADConfig, problem: Problem) -> None:
        self.config = config
        self._device = problem.device
        self._updates = problem.updates
        self._encode = StepEncoder(problem.observation_space, problem.action_space)
        seen = self._encode.observation_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed)
            self._encoder = BeliefEncoder(self._encode.size, config.encoder_hidden, config.latent).to(problem.device)
            self._decoder = TrialDecoder(
                config.latent, seen, self._encode.action_size, config.decoder_hidden, states=config.decode_states
            ).to(problem.device)
            self._policy = _Policy(config, problem, seen + 2 * config.latent).to(problem.device)
        self._inference = nn.ModuleList([self._encoder, self._decoder])
        self._inference_optimizer = torch.optim.Adam(self._inference.parameters(), lr=config.encoder_rate, fused=True)
        self._optimizer = torch.optim.Adam(self._policy.parameters(), lr=config.learning_rate, fused=True)
        self._generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self._trials = Replay(config.kept, problem.device)
        self._steps = problem.horizon * problem.episodes
        self._value_mean = torch.zeros(self._steps, 1, device=problem.device)
        self._value_scale = torch.ones((), device=problem.device)
        self._updates_done = 0

    def plan(self, episodes: int) -> CollectionPlan:
        """One round: the belief is updated in `act`."""
        return CollectionPlan(rounds=1, episodes_per_round=episodes)

    def begin_trial(self, batch: int) -> Tensor:
        """Nothing seen yet."""
        return self._encoder.initial(batch)

    @torch.no_grad()
    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """Update the belief by what the last step showed, and sample from the policy."""
        belief, carry = self._encoder.step(self._encode(step), carry)
        inputs = torch.cat([self._encode.observation(step.observation), belief], -1)
        policy, value = self._policy(inputs)
        action = policy.sample(self._generator)
        record = {"log_prob": policy.log_prob(action), "value": value, "belief": belief}
        return Action(action, record), carry

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """Nothing to do between rounds."""
        return carry

    def learn(self, trial: Trial) -> Metrics:
        """PPO on whole trials with beliefs as they were, then steps of encoder and decoder on recent trials."""
        rollout = trial.rollout
        figures = self._learn_policy(rollout)
        self._keep(rollout)
        return {**figures, **self._learn_inference(), **_certainty(rollout)}

    def estimates(self, rollout: Rollout, trace: float | None = None) -> tuple[Tensor, Tensor]:
        """Values and advantages [T, B] in units of reward: of all that the trial has still to come."""
        valid = rollout.valid.to(torch.float32)
        value = (rollout.record["value"] * self._value_scale + self._value_mean[: len(valid)]) * valid
        goes_on = torch.cat([rollout.valid[1:], torch.zeros_like(rollout.valid[:1])])
        trace = self.config.trace if trace is None else trace
        return value, generalized_advantages(rollout.reward * valid, value, goes_on, self.config.discount, trace)

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, recent trials, value normalisation, sampling stream."""
        return {
            "policy": self._policy.state_dict(),
            "inference": self._inference.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "inference_optimizer": self._inference_optimizer.state_dict(),
            "trials": self._trials.state_dict(),
            "generator": self._generator.get_state(),
            "value_mean": self._value_mean,
            "value_scale": self._value_scale,
            "updates_done": self._updates_done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        self._policy.load_state_dict(state["policy"])
        self._inference.load_state_dict(state["inference"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._inference_optimizer.load_state_dict(state["inference_optimizer"])
        self._trials.load_state_dict(state["trials"])
        self._generator.set_state(state["generator"].cpu())
        self._value_mean = state["value_mean"].to(self._device)
        self._value_scale = state["value_scale"].to(self._device)
        self._updates_done = state["updates_done"]

    def _learn_policy(self, rollout: Rollout) -> Metrics:
        advantage, target = self._advantages(rollout)
        columns = {
            "inputs": torch.cat([self._encode.observation(rollout.observation), rollout.record["belief"]], -1),
            "action": rollout.action,
            "log_prob": rollout.record["log_prob"],
            "advantage": advantage,
            "target": target,
        }
        steps = {name: column[rollout.valid] for name, column in columns.items()}
        left = max(0.0, 1.0 - self._updates_done / self._updates) if self._updates else 1.0
        self._updates_done += 1

        def losses(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            parts = self._losses({name: column[rows] for name, column in steps.items()})
            loss = parts["losses/policy_loss"] + parts["losses/value_loss"]
            return loss - self.config.entropy * left * parts["losses/entropy"], parts

        weight = torch.ones_like(steps["target"])
        minibatches = self._minibatches(len(weight))
        longest = self.config.gradient_norm
        return descend(self._policy, self._optimizer, minibatches, losses, weight=weight, longest=longest)

    def _losses(self, steps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses and diagnostics of one minibatch, each a scalar."""
        policy, value = self._policy(steps["inputs"])
        log_ratio = policy.log_prob(steps["action"]) - steps["log_prob"]
        return {
            "losses/policy_loss": clipped_surrogate(log_ratio, steps["advantage"], self.config.clip).mean(),
            "losses/value_loss": (value - steps["target"]).square().mean(),
            "losses/entropy": policy.entropy().mean(),
            "losses/approx_kl": approximate_kl(log_ratio.detach()).mean(),
        }

    @torch.no_grad()
    def _advantages(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Normalised advantages and normalised value targets, both [T, B], meaningful where valid."""
        steps, valid = len(rollout.reward), rollout.valid.to(torch.float32)
        value, advantage = self.estimates(rollout)
        returns = advantage + value
        mean = (returns * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp(min=1)
        scale = weighted_mean((returns - mean).square(), valid).sqrt() + 1e-6
        keep = 0.9 if self._updates_done else 0.0
        self._value_mean[:steps] = keep * self._value_mean[:steps] + (1 - keep) * mean
        self._value_scale = keep * self._value_scale + (1 - keep) * scale
        spread, centre = torch.std_mean(advantage[rollout.valid], correction=0)
        return (advantage - centre) / (spread + 1e-8), (returns - self._value_mean[:steps]) / self._value_scale

    def _minibatches(self, steps: int) -> Iterator[Tensor]:
        """Row numbers of each minibatch of each epoch."""
        for _ in range(self.config.epochs):
            order = torch.randperm(steps, generator=self._generator, device=self._device)
            yield from order.tensor_split(min(self.config.minibatches, steps))

    def _keep(self, rollout: Rollout) -> None:
        """Put the trials where encoder and decoder learn from them, all of one length."""
        columns = {
            "inputs": self._encode(rollout.steps),
            "observation": self._encode.observation(rollout.observation),
            "action": self._encode.action(rollout.action),
            "reward": rollout.reward,
            "next_observation": self._encode.observation(rollout.next_observation),
            "valid": rollout.valid,
        }
        missing = self._steps - len(rollout.reward)
        self._trials.append(
            {
                name: torch.cat([column, column.new_zeros(missing, *column.shape[1:])]).transpose(0, 1)
                for name, column in columns.items()
            }
        )

    def _learn_inference(self) -> Metrics:
        """Climb the bound on recent trials."""
        config, count = self.config, min(self.config.encoder_trials, len(self._trials))
        reported: list[Tensor] = []
        for _ in range(config.encoder_updates):
            drawn = self._trials.draw(count, self._generator)
            steps = {name: column.transpose(0, 1) for name, column in drawn.items()}
            played = steps["valid"].sum(0)
            share = torch.rand(config.beliefs, count, generator=self._generator, device=self._device)
            noise = torch.randn(config.beliefs, count, config.latent, generator=self._generator, device=self._device)
            beliefs = self._encoder.sequence(steps["inputs"])
            which = (share * played).to(torch.int64)
            terms = evidence_terms(beliefs, self._decoder, steps, steps["valid"], which, noise)
            loss = terms["reward"] + config.kl_weight * terms["kl"] + terms.get("state", 0.0)
            self._inference_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self._inference.parameters(), 10 * config.gradient_norm)
            self._inference_optimizer.step()
            reported.append(torch.stack([loss, *terms.values()]).detach())
        names = ["losses/negative_elbo", *(f"losses/belief_{name}" for name in terms)]
        return dict(zip(names, torch.stack(reported).mean(0).tolist(), strict=True))


def _certainty(rollout: Rollout) -> Metrics:
    """Mean standard deviation of the belief at the first step of the trial and at the last that was played."""
    deviation = rollout.record["belief"].chunk(2, -1)[1].exp().mean(-1)
    last = (rollout.valid.sum(0) - 1)[None]
    ends = torch.stack([deviation[0].mean(), deviation.gather(0, last).mean()]).tolist()
    return {"belief/first_std": ends[0], "belief/last_std": ends[1]}
