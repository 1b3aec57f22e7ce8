"""Evolved policy gradients: agents that learn from scratch, by a loss that evolved to make them learn fast.

*What adapts*: the weights theta of a policy, new in every trial, by gradient steps on the loss L_phi between rounds of
episodes side by side, and a memory beside them.  *What is meta-learned*: the weights phi of the loss.

    theta <- theta - rate * d/dtheta [(1 - a) L_phi(pi_theta, memory; what it has lived through) + a L_PPO]
    phi <- Adam(phi, -g + l2 * phi),  g = 1 / (n sigma) * sum_i (u_i+ - u_i-) eps_i

u_i+ and u_i- are the centred ranks of what agents earn at the end of their lives that learned by phi + sigma eps_i and
phi - sigma eps_i. The weight a of PPO's clipped surrogate falls from 1 to 0 over the first `guided` updates. The memory
is parameters that nothing but the loss reads and that change as theta does, so that a loss may keep what its buffer has
forgotten.

Lives are trials. In training the trials of a batch take turns: one learns by phi itself, one by PPO alone, whose
returns say whether the loss is worth having, then one by each of phi +- sigma eps_i, and so on; those of a turn begin
with the same policy and draw their actions by the same luck. By themselves they play tasks of their own, as in the
paper; with the runner `epg` all of a turn play the same task with the same luck, on as many processors as there are.
When it is judged every trial is a life by phi alone, whose actions are drawn from its policy: new policy, frozen loss.

A life whose parameters are no longer finite stays what it last was, and counts as its worst round with a finite return.

Reference: Houthooft et al. 2018, "Evolved Policy Gradients", sections 3.2 (algorithm 1) and 3.3 (memory, temporal
convolution, guidance).

Differences from the paper: a round of episodes side by side is what it calls M steps, the last `remembered` rounds its
buffer of N; antithetic pairs; the loss reads rewards, as in its task of directions; observations and rewards are
standardised by what is remembered; plain gradient steps.

Axes: T time, B lives, E episodes of a life side by side, L remembered steps of an episode, C width of a step to the
loss, M = 2 + 2n members, P parameters, Q weights of the loss, R rounds.
"""

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agents.common.distributions import ActionBox, Categorical, Mixed, MultiCategorical
from agents.common.evolution import adam, centred_ranks, decayed, no_moments, search_gradient
from agents.common.fast_policy import FastDistribution
from agents.common.from_scratch import FromScratch, InnerConfig
from agents.common.learned_loss import LossNetwork
from registry.config import Width
from registry.errors import UserError
from taskgen.interaction.agent import Action, Metrics, Problem, Rollout, Step, Trial
from taskgen.spaces import numbers_and_choices
from taskgen.streams import integer_seed

CENTRE, PPO, FIRST = 0, 1, 2
"""Members: who learns by phi, who by PPO alone, and the first of those who learn by phi +- sigma eps."""
IDLE = 10
"""After so many updates in a row in which no pair had a life each, an agent says so and stops."""
_REACH = 10.0
"""Standardised observations and rewards are clipped to this size where the loss reads them."""


class EPGConfig(InnerConfig):
    """Settings of `EPG`."""

    pairs: int = Field(32, ge=1, description="Antithetic pairs n of perturbed losses.")
    noise: float = Field(0.1, gt=0, description="First standard deviation sigma of the perturbations.")
    noise_decay: float = Field(0.999, gt=0, le=1, description="Factor of sigma after every update.")
    least_noise: float = Field(0.02, gt=0, description="Sigma decays no further than this; one that is below it stays.")
    learning_rate: float = Field(0.02, gt=0, description="Adam's first step size.")
    learning_rate_decay: float = Field(0.999, gt=0, le=1, description="Factor of the step size after every update.")
    least_learning_rate: float = Field(
        0.002, ge=0, description="The step size decays no further than this; one that is below it stays."
    )
    l2: float = Field(0.001, ge=0, description="Pull of the loss's weights towards zero, beside g.")
    guided: int = Field(20, ge=0, description="Updates over which the weight of PPO's surrogate falls from 1 to 0.")
    counted: int = Field(3, ge=1, description="Last rounds of a life by which its loss is ranked.")
    memory: int = Field(4, ge=0, description="Parameters of a life's memory.")
    remembered: int = Field(2, ge=1, description="Rounds that the temporal convolution reads.")
    channels: tuple[Width, Width] = Field((4, 8), description="Channels of its two layers.")
    context_width: Width = Field(8, description="Width of what comes of it.")
    loss_width: Width = Field(16, description="Width of the hidden layer that reads a step and the context.")


class Life(NamedTuple):
    """Carry."""

    parameters: Tensor
    """[B, P] policy and memory."""
    member: Tensor
    """[B] int64 by whose loss it learns."""
    lived: Tensor
    """[B, E, L, C'] what is remembered: observation, action, reward, whether the episode ended, whether it was on."""
    diverged: Tensor
    """[B] bool."""


class Outcome(NamedTuple):
    """What came of lives, on the host."""

    member: Int[Tensor, "B"]
    score: Float[Tensor, "B"]
    """Mean return of an episode in the rounds counted, minus infinity where no round had a finite one."""
    earned: Float[Tensor, "B"]
    """Return of the trial."""
    failed: Bool[Tensor, "B"]
    """Whether it diverged, or a return was not finite."""


class EPG(FromScratch[EPGConfig]):
    """All randomness but that of first policies and actions is a function of the seed and the number of updates."""

    def __init__(self, config: EPGConfig, problem: Problem) -> None:
        super().__init__(config, problem, extra=config.memory)
        numbers, _ = numbers_and_choices(problem.action_space)
        self._box = None if numbers is None else ActionBox(numbers).to(problem.device)
        self._numbers = 0 if numbers is None else numbers.shape[0]
        outputs = self.encoder.action_size + self._numbers
        self._columns = self.encoder.observation_size + self.encoder.action_size + 3
        self.loss = LossNetwork(
            self._columns + outputs + config.memory, config.channels, config.context_width, config.loss_width
        )
        self._horizon, self._seed, self._device = problem.horizon, problem.seed, problem.device
        self.trains = True
        """Whether trials take turns at the members."""
        self._begin_at(self.loss.initial(self._stream("start")))

    def _begin_at(self, weights: Float[Tensor, "Q"]) -> None:
        if weights.shape != (self.loss.size,):
            raise ValueError(f"{tuple(weights.shape)} weights for a loss of {self.loss.size}")
        self.weights = weights.detach().to(self._device, torch.float32, copy=True)
        """phi [Q]."""
        self._moments = no_moments(self.weights)
        self.updates = 0
        self._steps = 0
        self._lead: float | None = None
        self._ahead = 0
        self._idle = 0
        self._all: Tensor | None = None

    def reseed(self, seed: int) -> None:
        """Draw perturbations, first policies and actions from the stream of `seed` from now on."""
        super().reseed(seed)
        self._seed, self._all = seed, None

    def frozen(self) -> "EPG":
        """The agent as it is judged: every life learns by phi as it is now."""
        judged = copy.copy(self)
        judged.trains = False
        judged.generator = torch.Generator(self._device).set_state(self.generator.get_state())
        return judged

    @property
    def guidance(self) -> float:
        """The weight a of PPO's surrogate in the update to come."""
        return max(0.0, 1.0 - self.updates / self.config.guided) if self.config.guided else 0.0

    @property
    def noise(self) -> float:
        """Sigma of the update to come."""
        config = self.config
        return decayed(config.noise, config.noise_decay**self.updates, config.least_noise)

    @property
    def learning_rate(self) -> float:
        """Adam's step size in the update to come."""
        config = self.config
        return decayed(config.learning_rate, config.learning_rate_decay**self.updates, config.least_learning_rate)

    @property
    def members(self) -> int:
        """M."""
        return FIRST + 2 * self.config.pairs

    def perturbations(self) -> Float[Tensor, "n Q"]:
        """eps of the update to come."""
        shape = (self.config.pairs, self.loss.size)
        return torch.randn(shape, generator=self._stream(self.updates), device=self._device)

    def losses(self) -> Float[Tensor, "M Q"]:
        """The weights that the members learn by: phi twice, then those of a pair after those of another."""
        if self._all is None:
            away = self.noise * self.perturbations()
            here = self.weights[None]
            pairs = torch.stack([here + away, here - away], dim=1).flatten(0, 1)
            self._all = torch.cat([here, here, pairs])
        return self._all

    def begin_trial(self, batch: int) -> Life:
        """Lives that begin; in training they take turns at the members."""
        config = self.config
        if self.trains:
            member = torch.arange(batch, device=self._device) % self.members
            parameters = self.newborn(-(-batch // self.members)).repeat_interleave(self.members, 0)[:batch]
        else:
            member = torch.zeros(batch, dtype=torch.int64, device=self._device)
            parameters = self.newborn(batch)
        length = config.remembered * self._horizon
        lived = torch.zeros(batch, config.trajectories, length, self._columns, device=self._device)
        return Life(parameters, member, lived, torch.zeros_like(member, dtype=torch.bool))

    def act(self, carry: Life, step: Step) -> tuple[Action, Life]:
        """Draw from each life's policy; who it was is kept for `learn`."""
        drawn = self.draw(carry.parameters, step, self.members if self.trains else 1)
        places = len(step.observation) // len(carry.member)
        who = {"member": carry.member, "diverged": carry.diverged}
        return replace(drawn, record={name: each.repeat_interleave(places) for name, each in who.items()}), carry

    def adapt(self, carry: Life, rollout: Rollout) -> Life:
        """Gradient steps of each life on its own loss."""
        lives = len(carry.member)
        lived = torch.cat([carry.lived[:, :, self._horizon :], self._lived(rollout, lives)], dim=2)
        weight = lived[:, :, -self._horizon :, -1]
        by, steps = self.losses()[carry.member], _standardised(lived, self.encoder.observation_size)
        share = self._guidance(carry.member)

        def own(parameters: Tensor) -> Tensor:
            return self.loss(by, self._told(parameters, lived, steps), weight)

        if self.trains:
            data = self.experience(rollout, lives)
            old = self.played(carry.parameters, data)

            def loss(parameters: Tensor) -> Tensor:
                return (1 - share) * own(parameters) + share * self.surrogate(parameters, data, old)

        else:
            loss = own
        parameters, diverged = self.descend(carry.parameters, loss)
        return Life(parameters, carry.member, lived, carry.diverged | diverged)

    def learn(self, trial: Trial) -> Metrics:
        """One update, by the trials of this batch as lives."""
        return self.evolve(self.outcome(trial))

    def outcome(self, trial: Trial) -> Outcome:
        """What came of the lives that trials were. One host sync."""
        plan, record = trial.plan, trial.rounds[-1].record
        returns = trial.episode_returns().view(plan.rounds, plan.episodes_per_round, -1).mean(1)  # [R, B]
        member, diverged = (record[name][0].view(-1, plan.slots)[:, 0] for name in ("member", "diverged"))
        finite = returns.isfinite()
        failed = diverged | ~finite.all(0)
        worst = torch.where(finite, returns, torch.inf).amin(0)
        worst = torch.where(worst.isfinite(), worst, -torch.inf)
        score = torch.where(failed, worst, returns[-self.config.counted :].mean(0))
        earned = torch.where(failed, worst * plan.rounds, returns.sum(0)) * plan.episodes_per_round
        columns = torch.stack([column.double() for column in (member, score, earned, failed)]).cpu()
        return Outcome(columns[0].long(), columns[1], columns[2], columns[3] > 0)

    def evolve(self, outcome: Outcome) -> Metrics:
        """One update of phi by what came of lives. Pairs of which one did not live have no say.

        Raises `UserError` where none has had one for long: too few trials are played at once.
        """
        config = self.config
        lives = torch.bincount(outcome.member, minlength=self.members)
        total = torch.zeros(self.members, dtype=torch.float64).index_add_(0, outcome.member, outcome.score)
        score = total / lives
        complete = (lives[FIRST:].view(-1, 2) > 0).all(1)
        plus, minus = score[FIRST:].view(-1, 2)[complete].unbind(1)
        metrics = {
            "charts/learning_rate": self.learning_rate,
            "charts/noise": self.noise,
            "epg/guidance": self.guidance,
            "epg/pairs": float(len(plus)),
            "epg/diverged": float(outcome.failed.sum()),
            **self._compared(score),
        }
        self._idle = 0 if len(plus) else self._idle + 1
        if self._idle == IDLE:
            raise UserError(
                f"for {IDLE} updates no two losses of a pair have had a life each, so that none is ever better: set "
                f"training.tasks to {self.members} or a multiple of it, or use the runner epg, by which each has a "
                "life on every task"
            )
        if len(plus):
            ranks = centred_ranks(torch.cat([plus, minus])[:, None])[:, 0].float().to(self._device)
            eps = self.perturbations()[complete.nonzero()[:, 0].to(self._device)]
            gradient = search_gradient(ranks, eps, self.noise)
            slope = config.l2 * self.weights - gradient
            self._steps += 1
            step, self._moments = adam(slope, self._moments, self._steps, self.learning_rate)
            self.weights = self.weights - step
            norms = torch.stack([gradient.norm(), step.norm(), self.weights.norm()]).tolist()
            names = ("losses/gradient_norm", "losses/step_norm", "losses/parameter_norm")
            metrics |= dict(zip(names, norms, strict=True))
        self.updates += 1
        self._all = None
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """The loss, its optimiser, the place in the streams."""
        return {
            "weights": self.weights,
            "moments": list(self._moments),
            "updates": self.updates,
            "steps": self._steps,
            "lead": self._lead,
            "ahead": self._ahead,
            "idle": self._idle,
            "seed": self._seed,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `ValueError` when the loss has another shape, or evolved where its context left out newest steps."""
        if "steps" not in state:
            raise ValueError("a loss that evolved when its context did not read the newest steps; train it anew")
        self._begin_at(state["weights"])
        first, second = (moment.to(self._device, copy=True) for moment in state["moments"])
        self._moments = (first, second)
        self.updates, self._steps, self._seed = state["updates"], state["steps"], state["seed"]
        self._lead, self._ahead, self._idle = state["lead"], state["ahead"], state["idle"]
        self.generator.set_state(state["generator"].cpu())

    def _compared(self, score: Tensor) -> Metrics:
        """Who learned by phi and who by PPO, and how phi's lead has been: its mean, recent updates counting most."""
        own, other = score[[CENTRE, PPO]].tolist()
        if not np.isfinite([own, other]).all():  # one of them did not live
            return {}
        lead = own - other if self._lead is None else 0.9 * self._lead + 0.1 * (own - other)
        self._lead = lead
        self._ahead += lead > 0
        return {
            "epg/loss_return": own,
            "epg/ppo_return": other,
            "epg/lead": lead,
            "epg/updates_ahead": float(self._ahead),
        }

    def _guidance(self, member: Tensor) -> Float[Tensor, "B"]:
        """The weight of PPO's surrogate to each life."""
        share = torch.full(member.shape, self.guidance, device=self._device)
        return torch.where(member == PPO, 1.0, torch.where(member == CENTRE, 0.0, share))

    def _lived(self, rollout: Rollout, lives: int) -> Float[Tensor, "B E H C'"]:
        """A round, of as many steps as an episode may have: zeros where it was over."""
        action = self.encoder.action(rollout.action)
        if self._box is not None:
            numbers, choices = action.tensor_split([self._numbers], dim=-1)
            action = torch.cat([self._box.to_unit(numbers), choices], dim=-1)
        columns = [
            self.encoder.observation(rollout.observation),
            action,
            rollout.reward[..., None],
            (rollout.terminated | rollout.truncated)[..., None].float(),
            torch.ones_like(rollout.reward)[..., None],
        ]
        rows = torch.cat(columns, dim=-1) * rollout.valid[..., None]
        rows = rows.unflatten(1, (lives, -1)).permute(1, 2, 0, 3)
        return functional.pad(rows, (0, 0, 0, self._horizon - rows.shape[2]))

    def _told(self, parameters: Tensor, lived: Tensor, steps: Tensor) -> Float[Tensor, "B E L C"]:
        """`steps`, which are `lived` as the loss reads it, with what the policy makes of them and the memory beside."""
        policy, memory = parameters.split([self.policy.size, self.config.memory], dim=1)
        seen = lived[..., : self.encoder.observation_size].flatten(1, 2)
        outputs = self._outputs(self.policy(policy, seen))
        outputs = [each.reshape(*steps.shape[:3], -1) * steps[..., -1:] for each in outputs]
        beside = memory.tanh()[:, None, None].expand(*steps.shape[:3], -1)
        return torch.cat([steps, *outputs, beside], dim=-1)

    def _outputs(self, policy: FastDistribution) -> list[Tensor]:
        """[B, N, ...] the numbers that make a policy: log-probabilities, means and log standard deviations."""
        if isinstance(policy, Categorical):
            return [policy.log_probabilities]
        if isinstance(policy, MultiCategorical):
            return [part.log_probabilities for part in policy.parts]
        if isinstance(policy, Mixed):
            return [*self._outputs(policy.numbers), *self._outputs(policy.choices)]
        assert self._box is not None
        spread = policy.log_std - self._box.half_range.log()
        return [self._box.to_unit(policy.mean), spread.expand_as(policy.mean)]

    def _stream(self, name: str | int) -> torch.Generator:
        return torch.Generator(self._device).manual_seed(integer_seed(self._seed, "epg", name))


def _standardised(lived: Float[Tensor, "B E L C"], seen: int) -> Float[Tensor, "B E L C"]:
    """With observations, `seen` wide, and rewards of each life measured by mean and spread of what is remembered."""
    told, on = torch.cat([lived[..., :seen], lived[..., -3:-2]], dim=-1), lived[..., -1:]
    count = on.sum((1, 2), keepdim=True).clamp(min=1)
    mean = (told * on).sum((1, 2), keepdim=True) / count
    spread = ((told - mean).square() * on).sum((1, 2), keepdim=True).div(count).sqrt()
    differ = spread > 1e-5 * mean.abs()  # equal numbers differ by rounding alone
    standard = torch.where(differ, (told - mean) / spread, 0.0).clamp(-_REACH, _REACH) * on
    return torch.cat([standard[..., :-1], lived[..., seen:-3], standard[..., -1:], lived[..., -2:]], dim=-1)
