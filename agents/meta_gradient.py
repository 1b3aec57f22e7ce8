"""Meta-gradient reinforcement learning: an actor-critic that learns what return to learn from.

The discount and the trace of its lambda-returns, eta, are parameters themselves: they change so that the update made
with them does better on the batch played after it, as a return with a fixed discount and trace, eta', judges.

*What adapts*: the weights theta of policy and inner critic, by gradient steps.  *What is meta-learned*: eta.

    theta' = theta + f(theta, tau, eta),  f = rate * grad of [log pi (G_eta - v) - c (G_eta - v)^2 / 2 + d H],
    eta <- eta + step on  d J'(theta', tau', eta') / d eta  =  dJ'/dtheta' dtheta'/deta,
    J' = log pi_theta'(a' | s') (G_eta' - v') - c' (G_eta' - v_theta'(s'))^2 / 2

Returns in f and J' count as constants of the gradient in theta, but not of dtheta'/deta. tau' is the batch that theta'
plays, which is learned from next. eta is squashed to (0, 1), one pair for all states or a function of the state that
is entered, and has an optimiser of its own. v' is a critic of its own, learned at the discount of eta'; where it is the
inner critic, which discounts by eta, J' looks no further ahead than what it is to judge: small discounts confirm
themselves.

`lifetime` says how long theta lives. Over a run it is one policy for all tasks, which goes on learning while eta
changes: the paper's online algorithm, which when it is judged samples its actions as in training. Over a trial each
task has a theta of its own, the carry: it begins at the same random weights and adapts between rounds of episodes side
by side, so that eta is what makes learning from scratch fast.

With `bootstrap` eta moves so that theta' comes to act as a target does, which starts from theta' and has seen L updates
more, the last of them by eta' (BMG): the distance is that of policies, whatever the curvature of J', and eta is led by
updates that are not differentiated.

    theta~ = theta' + f(., tau', eta) + ... + rate * dJ'/dtheta,  J' above <- -KL(pi_theta~ || pi_theta') at s'

Of an L above 1 most of the lead is eta's own, so that a discount may confirm itself here too: with L = 4 that of
`meta-gradient-chain` fell from 0.95 to 0.23 in 100 updates, with L = 1 it rose to 0.99.

References: Xu, van Hasselt and Silver 2018, "Meta-Gradient Reinforcement Learning", sections 1 (the trace
z <- mu z + df/deta of dtheta/deta), 1.1 (returns), 1.3 (control) and 2 (eta by the state); Flennerhag et al. 2022,
"Bootstrapped Meta-Learning", section 3, equation 2.

Differences from the first: whole episodes instead of unrolls of fixed length; dtheta'/deta is exact, through one update
or several, unless `derivative_trace` asks for the paper's approximation; networks are not told eta (section 1.4), since
targets are renewed with every batch; the outer critic; where `inner_norm` scales an update down, dtheta'/deta takes
the factor as a constant.

Axes: T time, B lives (tasks, or one), E episodes of a life side by side, P parameters, O observation.

Longer than most files here: both lifetimes and both kinds of target are one algorithm, read beside its papers.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from agents.common.divergence import kl_divergence
from agents.common.encoding import StepEncoder
from agents.common.fast_policy import Activation, FastDistribution, FastMLP, FastPolicy
from agents.common.inner_loop import gradient_step
from agents.common.losses import weighted_mean
from agents.common.optimiser import Adam, load_optimizer
from agents.common.side_by_side import Played, abreast, played, returns_of
from registry.config import Config, Width
from registry.errors import UserError
from taskgen.interaction.agent import Action, CollectionPlan, Metrics, Problem, Rollout, Step, Trial

_EDGE = 1e-3
"""Nearer to 0 or 1 than this, a discount or trace counts as at its bounds."""


class MetaGradientConfig(Config):
    """Settings of `MetaGradient`."""

    lifetime: Literal["run", "trial"] = Field(
        "run", description="How long a policy lives: one over the run, or one for every trial, from scratch."
    )
    trajectories: int = Field(20, ge=1, description="Episodes side by side for one update, where lives are trials.")
    hidden: tuple[Width, ...] = Field((64, 64), description="Widths of the hidden layers of policy and critics.")
    activation: Activation = Field("tanh", description="Nonlinearity of the hidden layers.")
    std: float = Field(1.0, gt=0, description="First standard deviation of actions, in half the range.")
    least_std: float = Field(0.2, ge=0, description="Standard deviation that is never undercut, in half the range.")
    inner_rate: float = Field(0.5, gt=0, description="Length of an update, in gradients.")
    inner_norm: float = Field(1.0, gt=0, description="Inner gradients are scaled down to this norm.")
    value_weight: float = Field(0.5, ge=0, description="Weight c of the inner critic's squared error.")
    entropy: float = Field(0.005, ge=0, description="Weight d of the policy's entropy.")
    standardise: bool = Field(default=True, description="Measure rewards by the running spread of outer returns.")
    eta: Literal["scalar", "state"] = Field(
        "scalar", description="One discount and trace for all states, or linear functions of the observation, squashed."
    )
    learned: Literal["both", "discount", "trace", "none"] = Field(
        "both", description="What of eta is learned; none: an actor-critic whose discount and trace stay as they are."
    )
    discount: float = Field(0.95, ge=0, le=1, description="The discount, gamma; where it is learned, the first one.")
    trace: float = Field(0.9, ge=0, le=1, description="The trace, lambda; where it is learned, the first one.")
    eta_rate: float = Field(0.02, gt=0, description="Adam's learning rate of eta, before squashing.")
    updates: int = Field(
        1, ge=1, description="Updates of a run that a meta-gradient goes through; in a trial it goes through all."
    )
    derivative_trace: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The paper's mu: how much of dtheta/deta is kept from one update to the next; none: exact.",
    )
    bootstrap: int = Field(
        0,
        ge=0,
        description="Updates L of a target that policies match, the last by eta' (BMG); 0: J' itself is climbed.",
    )
    outer_discount: float = Field(0.99, ge=0, le=1, description="Discount of eta', by which updates are judged.")
    outer_trace: float = Field(0.95, ge=0, le=1, description="Trace of eta'.")
    outer_value: float = Field(
        0.0, ge=0, description="Weight c' of the inner critic's squared error in what judges updates (prediction)."
    )
    outer_critic: Literal["own", "shared"] = Field(
        "own",
        description="What outer returns bootstrap from: their own critic, or the inner one, which is myopic.",
    )
    critic_rate: float = Field(3e-3, gt=0, description="Adam's learning rate of the outer critic.")
    critic_trace: float = Field(1.0, ge=0, le=1, description="Trace of the returns that the outer critic learns from.")
    critic_updates: int = Field(4, ge=1, description="Steps of Adam on each batch for the outer critic.")

    @model_validator(mode="after")
    def _inside(self) -> "MetaGradientConfig":
        for name in ("discount", "trace"):
            if self.learned in ("both", name) and not _EDGE <= getattr(self, name) <= 1 - _EDGE:
                raise ValueError(
                    f"{name} = {getattr(self, name):g}: one that is learned begins between {_EDGE:g} and {1 - _EDGE:g}"
                )
        return self


class MetaGradient:
    """Carry: the parameters [B, P] of each life; where there is one life, `parameters` [1, P], nothing."""

    needs_descriptor = False

    def __init__(self, config: MetaGradientConfig, problem: Problem) -> None:
        if config.lifetime == "trial" and problem.episodes <= config.trajectories:
            raise UserError(
                f"a trial of {problem.episodes} episodes is one round of at most {config.trajectories} "
                "(agent.trajectories): nothing would adapt, and eta not be learned; ask for at least two rounds"
            )
        self.config = config
        learned = [config.learned in ("both", name) for name in ("discount", "trace")]
        names = [name for name, each in zip(("discount", "trace"), learned, strict=True) if each]
        self.initial_settings = frozenset({"std", *names})
        self.encoder = StepEncoder(problem.observation_space, problem.action_space)
        seen = self.encoder.observation_size
        self.policy = FastPolicy(
            seen,
            problem.action_space,
            config.hidden,
            config.activation,
            std=config.std,
            least_std=config.least_std,
            device=problem.device,
        )
        self.value = FastMLP([seen, *config.hidden, 1], config.activation)
        self.generator = torch.Generator(problem.device).manual_seed(problem.seed)
        parts = [self.policy.initial(self.generator), self.value.initial(self.generator, last=0.01)]
        self.parameters = torch.cat(parts)[None]
        self.critic = nn.Parameter(self.value.initial(self.generator, last=0.01)[None])
        self._critic_optimizer = Adam([self.critic], lr=config.critic_rate)
        first = torch.tensor([config.discount, config.trace], device=problem.device)
        self._learned, self._fixed = torch.tensor(learned, device=problem.device), first
        rows = 1 + (seen if config.eta == "state" else 0)
        self.eta = nn.Parameter(torch.cat([first.logit(_EDGE)[None], first.new_zeros(rows - 1, 2)]))
        self._eta_optimizer = Adam([self.eta], lr=config.eta_rate)
        self._start, self._history = self.parameters, list[Played]()
        self._scale = torch.ones((), device=problem.device)
        self._at_bounds = torch.zeros((), device=problem.device)
        self._updates_done = 0

    def reseed(self, seed: int) -> None:
        """Draw actions from the stream of `seed` from now on."""
        self.generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """All episodes side by side; where lives are trials, in rounds of `trajectories`.

        Raises `UserError` for a number of episodes that is no multiple.
        """
        return abreast(episodes, episodes if self.config.lifetime == "run" else self.config.trajectories)

    def begin_trial(self, batch: int) -> Tensor:
        """Lives that begin, [batch, P]; [batch, 0] where there is one for all."""
        own = self.parameters if self.config.lifetime == "trial" else self.parameters[:, :0]
        return own.expand(batch, -1)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """Sample from each life's policy."""
        parameters = carry if self.config.lifetime == "trial" else self.parameters
        observation = self.encoder.observation(step.observation).unflatten(0, (len(parameters), -1))
        action = self.policy(parameters[:, : self.policy.size], observation).sample(self.generator)
        return Action(action.flatten(0, 1)), carry

    def adapt(self, carry: Tensor, rollout: Rollout) -> Tensor:
        """One update of each life on its own round; none between trials' rounds where there is one life for all."""
        if self.config.lifetime == "run":
            return carry
        return self.inner_step(carry, self.eta.detach(), self.played(rollout, len(carry))).detach()

    def learn(self, trial: Trial) -> Metrics:
        """A step of eta, where updates were judged; of the outer critic; and, over a run, an update of the policy."""
        tasks = 1 if self.config.lifetime == "run" else len(trial.specs)
        rounds = [self.played(rollout, tasks) for rollout in trial.rounds]
        figures: dict[str, Tensor] = {}
        if self.config.lifetime == "trial" and len(rounds) > 1:
            figures |= self._meta_step(self.parameters.expand(tasks, -1), rounds[:-1], rounds[1:])
        elif len(self._history) == self.config.updates:
            figures |= self._meta_step(self._start, self._history, rounds)
            self._history = []
        if self.config.outer_critic == "own":
            figures["losses/critic"] = self._teach_critic(rounds)
        if self.config.lifetime == "run":
            figures |= self._update(rounds[0])
        figures |= self._report(rounds)
        if self.config.standardise:
            self._measure(rounds)
        self._updates_done += 1
        values = torch.stack([value.detach() for value in figures.values()]).tolist()  # the one host sync
        return dict(zip(figures, values, strict=True))

    def returns_at(self, eta: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        """Discount and trace on entering states that are seen as `following` [..., O]: [...], or scalars."""
        features = torch.ones_like(following[..., :1])
        if self.config.eta == "state":
            features = torch.cat([features, following], dim=-1)
        else:
            features = features[(0,) * (following.ndim - 1)]
        pair = torch.where(self._learned, (features.to(eta.dtype) @ eta).sigmoid(), self._fixed.to(eta.dtype))
        return pair[..., 0], pair[..., 1]

    def inner_step(self, parameters: Tensor, eta: Tensor, data: Played, *, differentiable: bool = False) -> Tensor:
        """theta' [B, P]. If `differentiable`, in `parameters` [B, P] and `eta`, but for the factor of `inner_norm`."""
        with torch.set_grad_enabled(differentiable):
            discount, trace = self.returns_at(eta, data.following)
            target = returns_of(data, self._values(parameters, data.following), discount, trace)
            advantage = target - self._values(parameters, data.observation)

        def loss(here: Tensor) -> Tensor:
            policy, log_prob = self._acted(here, data)
            error = (target - self._values(here, data.observation)).square()
            gain = log_prob * advantage - 0.5 * self.config.value_weight * error
            gain = gain + self.config.entropy * policy.entropy().view_as(data.weight)
            return -(gain * data.weight).sum((1, 2)) / data.weight.sum((1, 2))

        rate, longest = self.config.inner_rate, self.config.inner_norm
        return gradient_step(loss, parameters.clone(), rate, longest=longest, differentiable=differentiable)

    def chain(self, start: Tensor, eta: Tensor, batches: Sequence[Played]) -> list[Tensor]:
        """The parameters [B, P] from `start` on, after one update on each of `batches`, differentiable in `eta`.

        With `derivative_trace` mu, d theta / d eta is kept by mu from one update to the next, and what an update's
        gradient depends on is not looked at: z <- mu z + df/deta.
        """
        keep, found = self.config.derivative_trace, [start]
        for data in batches:
            before = found[-1]
            if keep is None:
                found.append(self.inner_step(before, eta, data, differentiable=True))
            else:
                here = before.detach()
                moved = self.inner_step(here, eta, data, differentiable=True)
                found.append(moved + keep * (before - here))
        return found

    def objective(self, parameters: Tensor, data: Played) -> Tensor:
        """Scalar: minus J' of the policies and inner critics `parameters` [B, P], as what they played says.

        With `bootstrap`, how far the policies are from their targets instead (`matching`).
        """
        lives = self.matching(parameters, data) if self.config.bootstrap else self.judgement(parameters, data)
        return lives.mean()  # a life counts as one, however many steps its episodes had

    def matching(self, parameters: Tensor, data: Played) -> Tensor:
        """[B] KL(target || policy) where it has been; the target does not move, and nor does what it stands on."""
        with torch.no_grad():
            target, _ = self._acted(self.target(parameters, data), data)
        policy, _ = self._acted(parameters, data)
        return _life_mean(kl_divergence(target, policy).view_as(data.weight), data.weight)

    def target(self, parameters: Tensor, data: Played) -> Tensor:
        """[B, P] where further updates on `data` lead from `parameters`: by eta, and at last one by eta'."""
        here = parameters.detach()
        for _ in range(self.config.bootstrap - 1):
            here = self.inner_step(here, self.eta.detach(), data).detach()
        rate, longest = self.config.inner_rate, self.config.inner_norm
        return gradient_step(lambda there: self.judgement(there, data), here, rate, longest=longest).detach()

    def judgement(self, parameters: Tensor, data: Played) -> Tensor:
        """[B] minus J' of each life."""
        discount, trace = self.config.outer_discount, self.config.outer_trace
        with torch.no_grad():
            ahead, here = (self._outer_values(parameters, seen) for seen in (data.following, data.observation))
            target = returns_of(data, ahead, discount, trace)
            advantage = target - here
        gain = self._acted(parameters, data)[1] * advantage
        if self.config.outer_value:
            gain = gain - 0.5 * self.config.outer_value * (target - self._values(parameters, data.observation)).square()
        return -_life_mean(gain, data.weight)

    def played(self, rollout: Rollout, lives: int) -> Played:
        """A round [T, B * E, ...] by life, with rewards as they are learned from."""
        return played(rollout, self.encoder, lives, self._scale)

    @torch.no_grad()
    def estimates(self, rollout: Rollout, trace: float | None = None) -> tuple[Tensor, Tensor]:
        """Values and advantages [T, B] at eta', in units of reward: of what the episode has still to come."""
        data = self.played(rollout, 1)
        value, ahead = (self._outer_values(self.parameters, seen) for seen in (data.observation, data.following))
        trace = self.config.outer_trace if trace is None else trace
        advantage = returns_of(data, ahead, self.config.outer_discount, trace) - value
        return value[0] * self._scale, advantage[0] * self._scale

    def state_dict(self) -> dict[str, Any]:
        """Parameters of policy, critics and eta, optimisers, scale, stream, updates that are still to be judged."""
        return {
            "parameters": self.parameters,
            "critic": self.critic.detach().clone(),
            "critic_optimizer": self._critic_optimizer.state_dict(),
            "eta": self.eta.detach().clone(),
            "eta_optimizer": self._eta_optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "start": self._start,
            "history": [data._asdict() for data in self._history],
            "scale": self._scale,
            "at_bounds": self._at_bounds,
            "updates_done": self._updates_done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Settings stay the agent's own. Raises `ValueError` when networks or eta have another shape."""
        for name, mine in (("parameters", self.parameters), ("critic", self.critic), ("eta", self.eta)):
            if state[name].shape != mine.shape:
                raise ValueError(f"{name} {list(state[name].shape)} in the place of {list(mine.shape)}")
        device = self.parameters.device
        self.parameters, self._start = state["parameters"].to(device), state["start"].to(device)
        with torch.no_grad():
            self.critic.copy_(state["critic"])
            self.eta.copy_(state["eta"])
        load_optimizer(self._critic_optimizer, state["critic_optimizer"], self.config.critic_rate)
        load_optimizer(self._eta_optimizer, state["eta_optimizer"], self.config.eta_rate)
        self.generator.set_state(state["generator"].cpu())
        kept = state["history"] if len(state["history"]) <= self.config.updates else []
        self._history = [Played(**{name: column.to(device) for name, column in data.items()}) for data in kept]
        self._scale, self._at_bounds = state["scale"].to(device), state["at_bounds"].to(device)
        self._updates_done = state["updates_done"]

    def _meta_step(self, start: Tensor, batches: Sequence[Played], judged: Sequence[Played]) -> dict[str, Tensor]:
        """A step of eta by what the policies that `batches` lead to did, each in its part of `judged`."""
        with torch.enable_grad():
            reached = self.chain(start.detach(), self.eta, batches)[-len(judged) :]
            losses = [self.objective(*pair) for pair in zip(reached, judged, strict=True)]
            loss = torch.stack(losses).mean()
            (gradient,) = torch.autograd.grad(loss, self.eta)
        self.eta.grad = gradient
        self._eta_optimizer.step()
        return {"losses/outer": loss, "eta/gradient_norm": gradient.norm()}

    def _update(self, data: Played) -> dict[str, Tensor]:
        """An update of the one life, which the next meta-gradient may go through."""
        if not self._history:
            self._start = self.parameters
        self._history.append(data)
        before = self.parameters
        self.parameters = self.inner_step(before, self.eta.detach(), data).detach()
        with torch.no_grad():
            (old, _), (new, _) = (self._acted(parameters, data) for parameters in (before, self.parameters))
            moved = weighted_mean(kl_divergence(old, new).view_as(data.weight), data.weight)
            entropy = weighted_mean(new.entropy().view_as(data.weight), data.weight)
        return {"losses/kl": moved, "losses/entropy": entropy}

    def _teach_critic(self, rounds: Sequence[Played]) -> Tensor:
        """Steps of the outer critic towards returns at the outer discount; the squared error before the first."""
        discount, trace = self.config.outer_discount, self.config.critic_trace
        with torch.no_grad():
            ahead = [self._outer_values(self.parameters, data.following) for data in rounds]
            targets = [returns_of(data, values, discount, trace) for data, values in zip(rounds, ahead, strict=True)]
        found: list[Tensor] = []
        for _ in range(self.config.critic_updates):
            errors: list[Tensor] = []
            with torch.enable_grad():
                for data, target in zip(rounds, targets, strict=True):
                    value = self._outer_values(self.parameters, data.observation)
                    errors.append(weighted_mean((target - value).square(), data.weight))
                found.append(torch.stack(errors).mean())
                (self.critic.grad,) = torch.autograd.grad(found[-1], self.critic)
            self._critic_optimizer.step()
        return found[0]

    @torch.no_grad()
    def _report(self, rounds: Sequence[Played]) -> dict[str, Tensor]:
        """eta where the agent has been, and for how many updates in a row it has been at its bounds."""
        figures: dict[str, Tensor] = {}
        at = torch.zeros_like(self._learned[0])
        for number, name in enumerate(("gamma", "lambda")):
            pairs = [(self.returns_at(self.eta, data.following)[number], data.weight) for data in rounds]
            mean = torch.stack([weighted_mean(value.expand_as(weight), weight) for value, weight in pairs]).mean()
            figures[f"eta/{name}"] = mean
            at = at | (self._learned[number] & ((mean < _EDGE) | (mean > 1 - _EDGE)))
        self._at_bounds = torch.where(at, self._at_bounds + 1, 0.0)
        return figures | {"eta/updates_at_bounds": self._at_bounds}

    @torch.no_grad()
    def _measure(self, rounds: Sequence[Played]) -> None:
        """Renew the scale of rewards: the root mean square of outer returns, as they were paid."""
        squares: list[Tensor] = []
        for data in rounds:
            earned = returns_of(data, torch.zeros_like(data.reward), self.config.outer_discount, 1.0)
            squares.append(weighted_mean(earned.square(), data.weight))
        size = torch.stack(squares).mean().sqrt() * self._scale + 1e-6
        keep = 0.9 if self._updates_done else 0.0
        self._scale = keep * self._scale + (1 - keep) * size

    def _acted(self, parameters: Tensor, data: Played) -> tuple[FastDistribution, Tensor]:
        """Distributions [B, T * E] at what was seen, and the log-probability [B, T, E] of what was done."""
        policy = self.policy(parameters[:, : self.policy.size], data.observation.flatten(1, 2))
        return policy, policy.log_prob(data.action.flatten(1, 2)).view_as(data.weight)

    def _values(self, parameters: Tensor, seen: Tensor) -> Tensor:
        """[B, T, E] the inner critics' values of what was seen [B, T, E, O]."""
        return self.value(parameters[:, self.policy.size :], seen.flatten(1, 2)).view(seen.shape[:-1])

    def _outer_values(self, parameters: Tensor, seen: Tensor) -> Tensor:
        """[B, T, E] values from which outer returns bootstrap."""
        if self.config.outer_critic == "shared":
            return self._values(parameters, seen)
        return self.value(self.critic, seen.flatten(0, 2)[None]).view(seen.shape[:-1])


def _life_mean(values: Tensor, weight: Tensor) -> Tensor:
    """[B] means of values [B, T, E] where there was a step."""
    return (values * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp(min=1)
