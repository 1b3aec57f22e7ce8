"""RL^2: fast reinforcement learning via slow reinforcement learning.

A recurrent policy plays several episodes of one task without forgetting in between, and is trained by an ordinary
policy gradient on the return of the whole trial; so the recurrence becomes a learning algorithm of its own.

*What adapts*: the hidden state h, over all episodes of a trial.  *What is meta-learned*: the network's weights theta.

    h_t = f_theta(h_{t-1}, s_t, a_{t-1}, r_{t-1}, d_{t-1}),  a_t ~ pi_theta(. | h_t)
    max_theta  E_task E_trial [ sum_t discount^t r_t ],  t over the whole trial

When it is judged its actions are drawn from its policy, as in training.

Reference: Duan et al. 2016, "RL^2", sections 2.2-2.3; Wang et al. 2016, "Learning to reinforcement learn".

Differences from the paper: PPO (Schulman et al. 2017) in place of TRPO; value targets are shifted by their mean at
each time of the trial and scaled by one running standard deviation; optionally each reward is also predicted, linearly
in the action with coefficients read from h_t (an auxiliary loss on the agent's own data, off by default); optionally
the rewards that the network reads are measured by those of the trial so far, as MAML's normalised advantages are.
Long trials may be learned from in pieces (truncated back-propagation through time, Williams and Peng 1990), and policy
and values may read the observation past the memory (`hidden`).

Axes: T time (all episodes of the trial), B trials.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from agents.common.descent import descend
from agents.common.distributions import Distribution, PolicyHead
from agents.common.encoding import StepEncoder
from agents.common.losses import PPO_LOSSES, ppo_losses, weighted_mean
from agents.common.normalisation import RunningNormalizer
from agents.common.optimiser import Adam
from agents.common.returns import generalized_advantages
from agents.common.reward_scale import TrialStandard
from agents.common.schedule import annealed, changing, final_rate, share_left
from agents.common.vision import ImageConfig, vision
from agents.networks.base import Inputs, Memory, build_network, cleared, refuse_uncovered
from agents.networks.mlp import mlp
from agents.networks.readout import readout
from registry.config import Config, Part, Width
from taskgen.interaction.agent import Action, Carry, CollectionPlan, Metrics, Problem, Rollout, Step, Trial

LOSSES = (*PPO_LOSSES, "losses/reward_prediction")


class RL2Config(Config):
    """Settings of `RL2`."""

    network: Part = Field(
        Part(name="gru"), description="Recurrent network with its settings.", json_schema_extra={"kind": "networks"}
    )
    image: ImageConfig = Field(default=ImageConfig(), description="How observations that are images are read.")
    hidden: tuple[Width, ...] = Field(
        (),
        description="Widths of layers, apart for policy and values, that read the network's output beside its input; "
        "none: both are read off the output.",
    )
    memory: Literal["trial", "episode"] = Field(
        "trial", description="What is remembered: the trial, or (an ablation) only the current episode."
    )
    reward_input: Literal["raw", "standardised"] = Field(
        "raw", description="Previous rewards as they are, or measured by mean and spread of those of the trial so far."
    )
    normalize: bool = Field(default=False, description="Normalise what is read by running statistics, but for flags.")
    learning_rate: float = Field(2e-3, gt=0, description="Adam's initial learning rate.")
    final_learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="Learning rate at the end of training, reached linearly, from above or from below; left out: 6e-5, "
        "or the first one where that is less. Where no end is planned, as by `poet`, the first one stays.",
    )
    discount: float = Field(0.99, ge=0, le=1, description="Discount per step, over the whole trial (paper: 0.99).")
    trace: float = Field(0.3, ge=0, le=1, description="GAE's lambda (paper: 0.3).")
    epochs: int = Field(4, ge=1, description="Passes over a batch of trials.")
    minibatches: int = Field(4, ge=1, description="Minibatches per pass, of trials or pieces.")
    clip: float = Field(0.2, gt=0, description="PPO's clipping range.")
    entropy: float = Field(
        0.01,
        ge=0,
        description="Initial weight of the entropy bonus; falls linearly to zero at the end of training, where one is "
        "planned.",
    )
    value_coefficient: float = Field(0.5, ge=0, description="Weight of the value loss.")
    value_centre: Literal["step", "trial"] = Field(
        "step",
        description="What value targets are shifted by: the mean at each step of the trial, or, where trials are few "
        "and long, the mean of all steps.",
    )
    reward_prediction: float = Field(0.0, ge=0, description="Weight of the auxiliary reward prediction; 0: none.")
    gradient_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
    gradient_steps: int = Field(
        0, ge=0, description="Steps that gradients go back; trials are learned from in pieces as long. 0: whole trials."
    )
    std: float = Field(1.0, gt=0, description="Initial standard deviation of a continuous action, in half-ranges.")


class _Model(nn.Module):
    """Recurrent network with a policy head, a value head and, if used, a reward head."""

    def __init__(self, config: RL2Config, problem: Problem, encoder: StepEncoder) -> None:
        super().__init__()
        self.normalizer = RunningNormalizer(encoder.size - StepEncoder.FLAGS) if config.normalize else None
        image, width = vision(config.image, problem, encoder.size)
        self.image = image[0] if image else None
        shown = encoder.observation_size + width - encoder.size
        cue = () if image else problem.cue  # entries of the image are none of its features
        self.network = build_network(config.network, Inputs(width, shown, cue), problem.family)
        features = self.network.output_size
        sizes = (width + features, *config.hidden) if config.hidden else (features,)
        self.actor, self.critic = mlp(sizes, nn.Tanh), mlp(sizes, nn.Tanh)
        self.policy = PolicyHead(sizes[-1], problem.action_space, std=config.std)
        self.value = nn.Linear(sizes[-1], 1)
        self.reward = nn.Linear(features, encoder.action_size + 1) if config.reward_prediction else None

    def inputs(self, encoded: Tensor) -> Tensor:
        """[..., I] what the network reads; the flags at the end stay as they are."""
        if self.normalizer is None:
            return encoded
        values, flags = encoded.tensor_split([-StepEncoder.FLAGS], dim=-1)
        return torch.cat([self.normalizer(values), flags], dim=-1)

    def read(self, inputs: Tensor) -> Tensor:
        """[..., I] what network and heads read, with the features of an image in its place."""
        return inputs if self.image is None else self.image(inputs)

    def heads(self, inputs: Tensor, features: Tensor) -> tuple[Distribution, Tensor]:
        """[..., I], [..., F] -> action distribution, normalised value [...]."""
        if len(self.actor):
            features = torch.cat([inputs, features], dim=-1)
            return self.policy(self.actor(features)), self.value(self.critic(features))[..., 0]
        output, value = readout(features, self.policy.linear, self.value)
        return self.policy.distribution(output), value[..., 0]


class RL2:
    """Carry: the network's hidden state, and the statistics of the trial's rewards [B, 4]."""

    needs_descriptor = False
    initial_settings = frozenset({"std"})

    def __init__(self, config: RL2Config, problem: Problem) -> None:
        self.config = config
        self.annealed_settings = changing(config.learning_rate, config.final_learning_rate, config.entropy)
        self._device = problem.device
        self._updates = problem.updates
        self._encoder = StepEncoder(problem.observation_space, problem.action_space)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed)
            self._model = _Model(config, problem, self._encoder).to(problem.device)
        self._optimizer = Adam(self._model.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
        self._generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self._value_mean = torch.zeros(problem.horizon * problem.episodes, 1, device=problem.device)
        self._value_scale = torch.ones((), device=problem.device)
        self._updates_done = 0
        self._episodes = problem.episodes
        self._horizon = problem.horizon

    def reseed(self, seed: int) -> None:
        """Draw actions and minibatches from the stream of `seed` from now on."""
        self._generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """One round: adaptation happens in `act`. Raises `UserError` where the network would forget a trial's start."""
        remembered = episodes if self.config.memory == "trial" else 1
        network = self._model.network
        refuse_uncovered(network, self.config.network.name, episodes=remembered, horizon=self._horizon)
        return CollectionPlan(rounds=1, episodes_per_round=episodes)

    def begin_trial(self, batch: int) -> tuple[Memory, Tensor]:
        """An empty hidden state, and no rewards yet."""
        return self._model.network.initial(batch), TrialStandard.initial(batch, self._device)

    def act(self, carry: tuple[Memory, Tensor], step: Step) -> tuple[Action, tuple[Memory, Tensor]]:
        """Sample from the policy and advance the hidden state."""
        policy, value, carry = self._advance(carry, step)
        action = policy.sample(self._generator)
        record = {"log_prob": policy.log_prob(action), "value": value, **self._model.network.figures(carry[0])}
        return Action(action, record), carry

    def decide(self, carry: tuple[Memory, Tensor], step: Step) -> tuple[dict[str, Tensor], tuple[Memory, Tensor]]:
        """The policy that `act` samples from."""
        policy, _, carry = self._advance(carry, step)
        return policy.parameters(), carry

    def _advance(self, carry: tuple[Memory, Tensor], step: Step) -> tuple[Distribution, Tensor, tuple[Memory, Tensor]]:
        """Policy and normalised value [B] after the step, and the carry."""
        memory, rewards = carry
        step = self._within_memory(step)
        if self.config.memory == "episode":
            memory = cleared(memory, step.episode_start)
        if self.config.reward_input == "standardised":
            reward, rewards = TrialStandard.advance(rewards, step.previous_reward, step.trial_start)
            step = replace(step, previous_reward=reward)
        inputs = self._model.read(self._model.inputs(self._encoder(step)))
        features, memory = self._model.network.step(inputs, memory)
        return *self._model.heads(inputs, features), (memory, rewards)

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """Nothing to do between rounds."""
        return carry

    def learn(self, trial: Trial) -> Metrics:
        """PPO on whole trials; neither advantages nor hidden state are cut at episode ends."""
        rollout = trial.rollout
        self._look_ahead(rollout, trial.plan.episodes)
        advantage, target = self._advantages(rollout)
        share = self._anneal()
        steps = self._within_memory(rollout.steps)
        if self.config.reward_input == "standardised":
            reward = TrialStandard.sequence(steps.previous_reward, steps.trial_start)
            steps = replace(steps, previous_reward=reward)
        encoded = self._encoder(steps)
        pieces, memory = self._pieces(
            {
                "inputs": self._model.inputs(encoded),
                "action": rollout.action,
                "log_prob": rollout.record["log_prob"],
                "reward": rollout.reward,
                "advantage": advantage,
                "target": target,
                "restart": rollout.episode_start,
                "valid": rollout.valid,
            }
        )

        unread = {"restart": self.config.memory == "trial", "reward": self._model.reward is None}
        read = [name for name in pieces if not unread.get(name)]
        weights = [1.0, self.config.value_coefficient, -self.config.entropy * share, 0.0, self.config.reward_prediction]
        coefficients = torch.tensor(weights, device=self._device)

        def losses(columns: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            chosen = {name: pieces[name].index_select(1, columns) for name in read}
            parts = self._losses(chosen, tuple(part.index_select(0, columns) for part in memory))
            return parts @ coefficients[: len(parts)], dict(zip(LOSSES, parts.detach(), strict=False))

        weight = pieces["valid"].sum(0)
        minibatches = self._minibatches(len(weight))
        longest = self.config.gradient_norm
        figures = descend(self._model, self._optimizer, minibatches, losses, weight=weight, longest=longest)
        if self._model.normalizer is not None:
            self._model.normalizer.update(encoded[rollout.valid][..., : -StepEncoder.FLAGS])
        return {**figures, **self._remembered(rollout), "charts/learning_rate": self._optimizer.param_groups[0]["lr"]}

    def _remembered(self, rollout: Rollout) -> Metrics:
        """What the network says of its memory, at the end of the trials."""
        last = {name: part[-1] for name, part in rollout.record.items() if name not in ("log_prob", "value")}
        if not last:
            return {}
        means = torch.stack([figure.to(torch.float32).mean() for figure in last.values()]).tolist()
        return {f"memory/{name}": mean for name, mean in zip(last, means, strict=True)}

    def estimates(self, rollout: Rollout, trace: float | None = None) -> tuple[Tensor, Tensor]:
        """Values and advantages [T, B] in units of reward: of all that the trial has still to come."""
        valid = rollout.valid.to(torch.float32)
        value = (rollout.record["value"] * self._value_scale + self._value_mean[: len(valid)]) * valid
        goes_on = torch.cat([rollout.valid[1:], torch.zeros_like(rollout.valid[:1])])
        trace = self.config.trace if trace is None else trace
        return value, generalized_advantages(rollout.reward * valid, value, goes_on, self.config.discount, trace)

    def state_dict(self) -> dict[str, Any]:
        """Model with what normalises its inputs, optimiser, value normalisation, sampling stream."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "value_mean": self._value_mean,
            "value_scale": self._value_scale,
            "updates_done": self._updates_done,
            "episodes": self._episodes,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"].cpu())
        self._value_mean = state["value_mean"].to(self._device)
        self._value_scale = state["value_scale"].to(self._device)
        self._updates_done = state["updates_done"]
        self._episodes = state["episodes"]

    def _within_memory(self, step: Step) -> Step:
        """`step` without what happened before the memory begins."""
        if self.config.memory == "episode":  # the previous action would carry a message across the cut
            step = replace(step, trial_start=step.episode_start)
        return step

    def _look_ahead(self, rollout: Rollout, episodes: int) -> None:
        """Where trials have got another length, what values are shifted by begins anew, from what was just earned."""
        if episodes == self._episodes:
            return
        self._episodes = episodes
        valid = rollout.valid.to(torch.float32)
        goes_on = torch.cat([rollout.valid[1:], torch.zeros_like(rollout.valid[:1])])
        earned = generalized_advantages(
            rollout.reward * valid, torch.zeros_like(valid), goes_on, self.config.discount, 1.0
        )
        self._value_mean = torch.zeros_like(self._value_mean)
        self._value_mean[: len(earned)] = self._centre(earned, valid)

    def _advantages(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Normalised advantages and normalised value targets, both [T, B]."""
        steps = len(rollout.reward)
        valid = rollout.valid.to(torch.float32)
        value, advantage = self.estimates(rollout)
        returns = advantage + value
        mean = self._centre(returns, valid)
        scale = weighted_mean((returns - mean).square(), valid).sqrt() + 1e-6
        keep = 0.9 if self._updates_done else 0.0
        self._value_mean[:steps] = keep * self._value_mean[:steps] + (1 - keep) * mean
        self._value_scale = keep * self._value_scale + (1 - keep) * scale
        target = (returns - self._value_mean[:steps]) / self._value_scale
        centre = weighted_mean(advantage, valid)
        spread = weighted_mean((advantage - centre).square(), valid).sqrt()
        return (advantage - centre) / (spread + 1e-8), target

    def _centre(self, returns: Tensor, valid: Tensor) -> Tensor:
        """[T, 1] or [1, 1] what value targets [T, B] are shifted by."""
        if self.config.value_centre == "trial":
            return weighted_mean(returns, valid).view(1, 1)
        played = valid.sum(1, keepdim=True)
        mean = (returns * valid).sum(1, keepdim=True) / played.clamp(min=1)
        return torch.where(played > 0, mean, self._value_mean[: len(returns)])  # of steps that nobody played: as before

    def _anneal(self) -> float:
        """Set the learning rate; the share of training that is left, 1 where no end is planned."""
        left = share_left(self._updates_done, self._updates)
        self._updates_done += 1
        first = self.config.learning_rate
        for group in self._optimizer.param_groups:
            group["lr"] = annealed(first, final_rate(first, self.config.final_learning_rate), left)
        return left

    def _pieces(self, columns: dict[str, Tensor]) -> tuple[dict[str, Tensor], Memory]:
        """Columns [T, B, ...] as pieces [t, P, ...], and the memory [P, ...] that each begins with."""
        inputs, length = columns["inputs"], self.config.gradient_steps
        if not 0 < length < len(inputs):
            return columns, self._model.network.initial(inputs.shape[1])
        restart = columns["restart"] if self.config.memory == "episode" else None
        with torch.no_grad():
            memory = self._model.network.memories(self._model.read(inputs), length, restart)
        missing = -len(inputs) % length
        pieces: dict[str, Tensor] = {}
        for name, column in columns.items():
            filled = torch.cat([column, column.new_zeros(missing, *column.shape[1:])])
            pieces[name] = filled.unflatten(0, (-1, length)).transpose(0, 1).flatten(1, 2)
        played = pieces["valid"].any(0)
        pieces = {name: piece[:, played] for name, piece in pieces.items()}
        return pieces, tuple(part.flatten(0, 1)[played] for part in memory)

    def _minibatches(self, pieces: int) -> Iterator[Tensor]:
        """Column indices of each minibatch of each epoch."""
        for _ in range(self.config.epochs):
            order = torch.randperm(pieces, generator=self._generator, device=self._device)
            yield from order.tensor_split(min(self.config.minibatches, pieces))

    def _losses(self, pieces: dict[str, Tensor], memory: Memory) -> Tensor:
        """[4], or with reward prediction [5]: the `LOSSES` of one minibatch."""
        weight = pieces["valid"].to(torch.float32)
        restart = pieces["restart"] if self.config.memory == "episode" else None
        inputs = self._model.read(pieces["inputs"])
        features = self._model.network.sequence(inputs, restart, memory)
        policy, value = self._model.heads(inputs, features)
        columns = {name: pieces[name] for name in ("action", "log_prob", "advantage", "target")}
        losses = ppo_losses(policy, value, **columns, weight=weight, clip=self.config.clip)
        if self._model.reward is None:
            return losses
        slopes = self._model.reward(features)
        predicted = (slopes[..., :-1] * self._encoder.action(pieces["action"])).sum(-1) + slopes[..., -1]
        error = weighted_mean((predicted - pieces["reward"]).square(), weight)
        return torch.cat([losses, error[None]])
