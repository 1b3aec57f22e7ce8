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

import torch
from jaxtyping import Float
from torch import Tensor, nn

from agents.networks.mlp import mlp


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
        return self.posterior(self.recurrence(self.embedding(inputs))[0])


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
        which: [K, N] int64, the steps whose beliefs are judged; all were played.
        noise: [K, N, L] standard normal.
    """
    rows = torch.arange(beliefs.shape[1], device=beliefs.device)
    chosen = beliefs[which, rows]
    before = torch.cat([torch.zeros_like(beliefs[:1]), beliefs[:-1]])[which, rows]  # N(0, 1) before the first step
    errors = decoder.errors(drawn(chosen, noise), steps)
    terms = {name: (0.5 * error * valid).sum(1).mean() for name, error in errors.items()}
    return {**terms, "kl": gaussian_kl(chosen, before).mean()}
