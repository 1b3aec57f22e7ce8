"""Beliefs about the task: an encoder of what the trial has shown, a decoder of all it holds, and the bound they climb.

    q(m | tau_:t) = N(mean_t, std_t^2),  recurrent in (s_t, a_{t-1}, r_{t-1}) over all episodes of the trial
    ELBO_t = E_{m ~ q(m | tau_:t)} [ sum_i log p(r_i | m, a_i, s_{i+1}) (+ log p(s_{i+1} | m, s_i, a_i)) ]
             - KL(q(m | tau_:t) || q(m | tau_:t-1)),   i over the whole trial, past and to come

Zintgraf et al. 2020, "VariBAD: a very good method for Bayes-adaptive deep RL via meta-learning", section 3.1:
predicting from the belief of step t what was and what will be makes it a belief about the task, not a summary of the
past. The prior of the first step is N(0, 1).

Axes: T steps of a trial, N trials, K beliefs of a trial, L width of the latent.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from agents.common.encoding import StepEncoder
from agents.common.optimiser import Adam, load_optimizer
from agents.common.replay import Replay
from agents.networks.mlp import mlp
from registry.config import Config, Width
from taskgen.interaction.agent import Metrics, Problem, Rollout


class BeliefEncoder(nn.Module):
    """A GRU cell and two linear maps from its state to the mean and log standard deviation of the latent."""

    def __init__(self, inputs: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.embedding = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU())
        self.recurrence = nn.GRU(hidden, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent)

    def initial(self, batch: int) -> Tensor:
        """[batch, H] zeros."""
        return self.posterior.weight.new_zeros(batch, self.hidden)

    def step(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """[N, I], [N, H] -> belief [N, 2 L] (means, then log standard deviations), state [N, H]."""
        state = torch.gru_cell(self.embedding(inputs), state, *self.recurrence.all_weights[0])
        return self.posterior(state), state

    def sequence(self, inputs: Tensor) -> Tensor:
        """[T, N, I] -> beliefs [T, N, 2 L] of trials that begin with the first step."""
        return self.posterior(self.recurrence(self.embedding(inputs), self.initial(inputs.shape[1])[None])[0])


class TrialDecoder(nn.Module):
    """What a step of the trial pays, and as a setting where it leads, from a latent and the step."""

    def __init__(self, latent: int, observation: int, action: int, hidden: tuple[int, ...], *, states: bool) -> None:
        super().__init__()
        self.reward = _perceptron(latent + action + observation, hidden, 1)
        self.state = _perceptron(latent + observation + action, hidden, observation) if states else None

    def errors(self, latent: Tensor, steps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Squared errors [K, T, N] of the rewards, and of the next observations (summed over their entries).

        Args:
            latent: [K, N, L] one draw of each belief.
            steps: "observation" [T, N, O], "action" [T, N, A], "reward" [T, N], "next_observation" [T, N, O].
        """
        count = len(steps["reward"])
        drawn = latent[:, None].expand(-1, count, -1, -1)

        def beside(*names: str) -> Tensor:
            return torch.cat([drawn, *(steps[name].expand(len(latent), -1, -1, -1) for name in names)], -1)

        paid = self.reward(beside("action", "next_observation"))[..., 0]
        found = {"reward": (paid - steps["reward"]).square()}
        if self.state is not None:
            led = self.state(beside("observation", "action"))
            found["state"] = (led - steps["next_observation"]).square().sum(-1)
        return found


def _perceptron(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    return nn.Sequential(mlp((inputs, *hidden)), nn.Linear(hidden[-1], outputs))


def gaussian_kl(belief: Float[Tensor, "*axes D"], prior: Float[Tensor, "*axes D"]) -> Float[Tensor, "*axes"]:
    """KL(belief || prior) in nats, of diagonal Gaussians given as [..., 2 L] means and log standard deviations."""
    mean, log_std = belief.chunk(2, -1)
    prior_mean, prior_log_std = prior.chunk(2, -1)
    ratio = (2 * (log_std - prior_log_std)).exp()
    apart = ((mean - prior_mean) / prior_log_std.exp()).square()
    return (0.5 * (ratio + apart - 1) + prior_log_std - log_std).sum(-1)


def drawn(belief: Tensor, noise: Tensor) -> Tensor:
    """[..., L] a latent of each belief [..., 2 L] by standard normal `noise` [..., L], differentiable in the belief."""
    mean, log_std = belief.chunk(2, -1)
    return mean + log_std.exp() * noise


def evidence_terms(
    beliefs: Tensor, decoder: TrialDecoder, steps: Mapping[str, Tensor], valid: Tensor, which: Tensor, noise: Tensor
) -> dict[str, Tensor]:
    """The terms of -ELBO, averaged over K beliefs of each of N trials: scalars by name.

    "reward" and "state" are sums over the steps of the trial of half the squared errors (Gaussian likelihoods of
    variance 1, up to a constant), "kl" is the divergence of a belief from the one before.

    Args:
        beliefs: [T, N, 2 L] of every step.
        decoder: what predicts the trial.
        steps: its steps, as `TrialDecoder.errors` takes them.
        valid: [T, N] which of them were played.
        which: [K, N] int64, the steps whose beliefs are judged.
        noise: [K, N, L] standard normal.
    """
    rows = torch.arange(beliefs.shape[1], device=beliefs.device)
    chosen = beliefs[which, rows]
    before = torch.cat([torch.zeros_like(beliefs[:1]), beliefs[:-1]])[which, rows]  # N(0, 1) before the first step
    errors = decoder.errors(drawn(chosen, noise), steps)
    terms = {name: (0.5 * error * valid).sum(1).mean() for name, error in errors.items()}
    return {**terms, "kl": gaussian_kl(chosen, before).mean()}


class BeliefConfig(Config):
    """Settings of `BeliefModel`, which its users' settings extend."""

    latent: int = Field(5, ge=1, description="Width of the latent (paper: 5).")
    encoder_width: int = Field(64, ge=1, description="Width of the encoder's recurrence (paper: 64).")
    decoder_hidden: tuple[Width, ...] = Field((64, 64), min_length=1, description="Widths of the decoder's layers.")
    decode_states: bool = Field(default=False, description="Predict next observations too, where dynamics differ.")
    kl_weight: float = Field(0.1, ge=0, description="Weight of the divergence between beliefs of successive steps.")
    encoder_rate: float = Field(1e-3, gt=0, description="Adam's learning rate of encoder and decoder (paper: 1e-3).")
    encoder_norm: float = Field(5.0, gt=0, description="Gradients of both are scaled down to this norm.")
    encoder_updates: int = Field(8, ge=1, description="Steps of encoder and decoder for each of `learn`.")
    encoder_trials: int = Field(64, ge=1, description="Trials of each such step.")
    beliefs: int = Field(16, ge=1, description="Beliefs of a trial, of random steps, that are judged in it.")
    kept: int = Field(1000, ge=1, description="Latest trials that encoder and decoder learn from.")


class BeliefModel:
    """Encoder and decoder with their optimiser and the latest trials; draws from `generator`, which is the agent's."""

    def __init__(self, config: BeliefConfig, problem: Problem, encode: StepEncoder, generator: torch.Generator) -> None:
        self.config = config
        self._device = problem.device
        self._encode = encode
        self._generator = generator
        seen, acted = encode.observation_size, encode.action_size
        self.encoder = BeliefEncoder(encode.size, config.encoder_width, config.latent)
        self.decoder = TrialDecoder(config.latent, seen, acted, config.decoder_hidden, states=config.decode_states)
        self.networks = nn.ModuleList([self.encoder, self.decoder]).to(problem.device)
        self._optimizer = Adam(self.networks.parameters(), lr=config.encoder_rate)
        self._trials = Replay(config.kept, problem.device)
        self._steps = problem.horizon * problem.episodes

    def described(self, rollout: Rollout) -> dict[str, Tensor]:
        """The steps of `rollout` [T, B, ...] as the decoder takes them, what the encoder reads, and which are valid."""
        return {
            "inputs": self._encode(rollout.steps),
            "observation": self._encode.observation(rollout.observation),
            "action": self._encode.action(rollout.action),
            "reward": rollout.reward,
            "next_observation": self._encode.observation(rollout.next_observation),
            "valid": rollout.valid,
        }

    def step_errors(self, decoder: TrialDecoder, latent: Tensor, rollout: Rollout) -> Tensor:
        """[T, B] halves of the squared errors of each step of `rollout`, from its own `latent` [T, B, ...]."""
        steps = {name: column.flatten(0, 1)[None] for name, column in self.described(rollout).items()}
        errors = decoder.errors(latent.flatten(0, 1)[None], steps)
        return 0.5 * torch.stack(list(errors.values())).sum(0).view_as(rollout.reward)

    def keep(self, rollout: Rollout, judged: Tensor | None = None) -> None:
        """Put the trials where encoder and decoder learn from them, all of one length.

        `judged` [T, B] bool says whose beliefs are judged, of each trial its first steps; left out, those of all valid
        ones. Decoded are the valid steps, and they alone.
        """
        missing = self._steps - len(rollout.reward)
        columns = {**self.described(rollout), "judged": rollout.valid if judged is None else judged}.items()
        rows = {name: torch.cat([column, column.new_zeros(missing, *column.shape[1:])]) for name, column in columns}
        self._trials.append({name: row.transpose(0, 1) for name, row in rows.items()})

    def learn(self) -> Metrics:
        """Climb the bound on recent trials."""
        config, count = self.config, min(self.config.encoder_trials, len(self._trials))
        shape = (config.beliefs, count)
        reported: list[Tensor] = []
        names: list[str] = []
        for _ in range(config.encoder_updates):
            kept = self._trials.draw(count, self._generator)
            steps = {name: column.transpose(0, 1) for name, column in kept.items()}
            share = torch.rand(shape, generator=self._generator, device=self._device)
            noise = torch.randn(*shape, config.latent, generator=self._generator, device=self._device)
            beliefs, which = self.encoder.sequence(steps["inputs"]), (share * steps["judged"].sum(0)).to(torch.int64)
            terms = evidence_terms(beliefs, self.decoder, steps, steps["valid"], which, noise)
            loss = terms["reward"] + config.kl_weight * terms["kl"] + terms.get("state", 0.0)
            self._optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.networks.parameters(), config.encoder_norm)
            self._optimizer.step()
            names = ["losses/negative_elbo", *(f"losses/belief_{name}" for name in terms)]
            reported.append(torch.stack([loss, *terms.values()]).detach())
        return dict(zip(names, torch.stack(reported).mean(0).tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, recent trials; the generator is the agent's."""
        return {
            "networks": self.networks.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "trials": self._trials.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        self.networks.load_state_dict(state["networks"])
        load_optimizer(self._optimizer, state["optimizer"], self.config.encoder_rate)
        columns = state["trials"]["columns"]
        judged = {"judged": columns["valid"]} if columns else {}  # of states that say not yet whose beliefs are judged
        self._trials.load_state_dict({**state["trials"], "columns": {**judged, **columns}})


def variance(belief: Float[Tensor, "*axes D"]) -> Float[Tensor, "*axes"]:
    """Of diagonal Gaussians, [..., 2 L] means and log standard deviations, averaged over their dimensions."""
    return (2 * belief.chunk(2, -1)[1]).exp().mean(-1)


def certainty(rollout: Rollout) -> Metrics:
    """How sure the belief is at the first step of the trial and at the last that was played, and what it knows then.

    That is the belief's divergence in nats from N(0, 1), the belief of one who knows nothing: on average no less than
    what it tells of the task.
    """
    belief = rollout.record["belief"]
    deviation = belief.chunk(2, -1)[1].exp().mean(-1)
    known = gaussian_kl(belief, torch.zeros_like(belief))
    last = (rollout.valid.sum(0) - 1)[None]
    ends = (deviation[0].mean(), deviation.gather(0, last).mean(), known.gather(0, last).mean())
    return dict(zip(("belief/first_std", "belief/last_std", "belief/kl"), torch.stack(ends).tolist(), strict=True))
