"""PEARL: guess which task it is, act as if the guess were true, learn from what happened, guess better.

*What adapts*: the posterior over a latent z, a product of one Gaussian for each transition seen, from which z is drawn
anew for every episode.  *What is meta-learned*: the encoder phi that gives these Gaussians, and a soft actor-critic on
observation and latent.

    q(z | c)        prop. to  N(z; 0, 1) prod_n N(z; mu_phi(c_n), sigma_phi(c_n)^2),  c_n = (s, a, r)
    min_{Q, phi}    E_z [ sum_j (Q_j(s, a, z) - y)^2 ] + lambda KL(q(z | c) || N(0, 1)),  y as in `sac`, z constant
    min_pi          E_z [ alpha log pi(a | s, z) - min_j Q_j(s, a, z) ],  z constant

A trial begins with `exploration` episodes for which z comes from the prior. What they show is the task's *exploration
data*, kept apart: with `context = "exploration"` contexts are made of it alone, in training as at test. The soft
actor-critic learns from all transitions of the task. Where training tasks pay a dense reward in place of the sparse one
of the tasks to be solved, actor and critics learn from the dense one; with `context_reward = "family"` the r of a
context is the sparse one nevertheless, since nothing else will be seen at test (section 6.2).

Reference: Rakelly et al. 2019, "Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context Variables",
sections 4 and 5, algorithms 1 and 2.

Differences from the paper: a context is the beginning of a trial, some whole episodes, in training as at test, not
transitions drawn one by one from all episodes; the prior is a factor of the product, so that no context gives the
prior, and such contexts are trained on too; target critics instead of a value network; rewards are not scaled (a scale
s is a `temperature` of 1 / s, and a `kl_weight` smaller by s^2); the KL is averaged over tasks, not summed; the
temperature can be learned; actions are drawn from the policy when it is judged too, where the paper's code plays the
mean action. Of tasks without end, the newest `tasks` are remembered.

Axes: T time, B trials, M tasks of an update, N transitions of each, E first episodes of a trial, H steps of an episode,
L latent dimensions, D numbers of a transition in a context.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from agents.common.distributions import ActionBox, bounded_box
from agents.common.encoding import StepEncoder
from agents.common.optimiser import Adam, load_optimizer
from agents.common.pace import Pace, make_updates
from agents.common.replay import Replay, Shelf
from agents.common.soft_actor_critic import SoftActorCritic
from agents.networks.mlp import mlp
from registry.config import Config, Width
from taskgen.interaction.agent import Action, Carry, CollectionPlan, Metrics, Problem, Rollout, Step, Trial

_LEAST_VARIANCE = 1e-4
"""Of one factor: a transition that is sure beyond it would silence all others."""


class PEARLConfig(Config):
    """Settings of `PEARL`. The paper's values are those of its code for MuJoCo."""

    latent: int = Field(5, ge=1, description="Dimensions of the latent.")
    hidden: tuple[Width, ...] = Field((300, 300, 300), min_length=1, description="Widths of actor and critics.")
    encoder_hidden: tuple[Width, ...] = Field((200, 200, 200), min_length=1, description="Widths of the encoder.")
    next_observation: bool = Field(
        default=False, description="Whether the encoder also reads the next observation; for tasks that differ in it."
    )
    exploration: int = Field(
        1, ge=1, description="Episodes at the start of a trial for which the latent is drawn from the prior."
    )
    context: Literal["exploration", "all"] = Field(
        "exploration",
        description="Whether the posterior learns from a trial's exploration episodes alone, or from all before.",
    )
    context_reward: Literal["task", "family"] = Field(
        "task",
        description="Reward that the encoder reads: the one the task pays, as actor and critics do; or the family's "
        "own, where training tasks have replaced it by a denser one that the tasks to be solved do not have.",
    )
    recent: int = Field(20, ge=1, description="Newest trials of a task that contexts are drawn from.")
    tasks: int = Field(128, ge=1, description="Training tasks with a replay memory; one more takes the oldest's.")
    capacity: int = Field(20_000, ge=1, description="Transitions remembered of each task.")
    warm_up: int = Field(200_000, ge=0, description="Environment steps before any update.")
    updates_per_step: float = Field(0.4, gt=0, description="Updates per environment step after the warm-up.")
    meta_batch: int = Field(16, ge=1, description="Tasks per update.")
    batch: int = Field(256, ge=1, description="Transitions per task and update.")
    learning_rate: float = Field(3e-4, gt=0, description="Adam's learning rate, of all networks.")
    discount: float = Field(0.99, ge=0, le=1, description="Discount per step.")
    averaging: float = Field(0.005, gt=0, le=1, description="Share of the critics that enters their targets.")
    temperature: float = Field(0.2, gt=0, description="Weight of the entropy; its first one where it is learned.")
    target_entropy: float | None = Field(
        None,
        description="Entropy per action dimension that a learned temperature aims at, in nats, of actions scaled to "
        "[-1, 1]; left out, the temperature stays as it is (paper).",
    )
    kl_weight: float = Field(0.06, ge=0, description="Weight lambda of the posterior's divergence from the prior.")


class Belief(NamedTuple):
    """A product of Gaussians in L independent dimensions, as sums that further factors are added to."""

    precision: Float[Tensor, "... L"]
    pull: Float[Tensor, "... L"]
    """Sum of precision times mean."""

    @classmethod
    def prior(cls, batch: int, latent: int, device: torch.device) -> "Belief":
        """N(0, 1), `batch` times."""
        return cls(torch.ones(batch, latent, device=device), torch.zeros(batch, latent, device=device))

    def times(
        self, mean: Float[Tensor, "... n L"], variance: Float[Tensor, "... n L"], weight: Float[Tensor, "... n"]
    ) -> "Belief":
        """The product with n factors, to the power of their weights: 0 leaves one out."""
        precision = weight[..., None] / variance
        return Belief(self.precision + precision.sum(-2), self.pull + (precision * mean).sum(-2))

    @property
    def mean(self) -> Float[Tensor, "... L"]:
        """Of the product."""
        return self.pull / self.precision

    @property
    def std(self) -> Float[Tensor, "... L"]:
        """Of the product."""
        return self.precision.rsqrt()

    def sample(self, generator: torch.Generator) -> Float[Tensor, "... L"]:
        """One latent per row; gradients reach mean and standard deviation."""
        return self.mean + self.std * torch.empty_like(self.mean).normal_(generator=generator)

    def divergence(self) -> Float[Tensor, "..."]:
        """KL(self || N(0, 1)) in nats."""
        variance = self.precision.reciprocal()
        return 0.5 * (variance + self.mean.square() - 1 - variance.log()).sum(-1)


class _Encoder(nn.Module):
    """From a transition to the Gaussian it stands for."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], latent: int) -> None:
        super().__init__()
        self.body = mlp((inputs, *hidden))
        self.head = nn.Linear(hidden[-1], 2 * latent)

    def forward(self, transitions: Tensor) -> tuple[Tensor, Tensor]:
        """[..., D] -> mean and variance, [..., L] each."""
        mean, spread = self.head(self.body(transitions)).chunk(2, dim=-1)
        return mean, functional.softplus(spread) + _LEAST_VARIANCE


class _Beliefs(NamedTuple):
    """The carry."""

    latent: Tensor
    """[B, L] that the episode is played with."""
    belief: Belief


class PEARL:
    """The carry holds the latent and the sums of the posterior."""

    needs_descriptor = False

    def __init__(self, config: PEARLConfig, problem: Problem) -> None:
        space = bounded_box(problem, "pearl")
        self.config = config
        self.exploration_episodes = config.exploration
        self.initial_settings = frozenset[str]() if config.target_entropy is None else frozenset({"temperature"})
        self._device, self._horizon = problem.device, problem.horizon
        self._encoding = StepEncoder(problem.observation_space, space)
        self._box = ActionBox(space).to(problem.device)
        observation, actions = self._encoding.observation_size, self._encoding.action_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed)
            size = observation * (2 if config.next_observation else 1) + actions + 1
            self._encoder = _Encoder(size, config.encoder_hidden, config.latent).to(problem.device)
            self._model = SoftActorCritic(
                observation + config.latent,
                config.hidden,
                actions,
                temperature=config.temperature,
                averaging=config.averaging,
            ).to(problem.device)
        critic = [*self._encoder.parameters(), *self._model.critics.parameters()]
        self._critic_optimizer = Adam(critic, config.learning_rate)
        learned = [] if config.target_entropy is None else [self._model.log_temperature]
        self._policy_optimizer = Adam([*self._model.actor.parameters(), *learned], config.learning_rate)
        self._generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self._shelf = Shelf(config.tasks)
        self._replay = Replay(config.capacity, problem.device, buffers=config.tasks)
        self._contexts = Replay(config.recent, problem.device, buffers=config.tasks)
        self._pace = Pace(config.warm_up, config.updates_per_step)
        self._context_episodes = (
            problem.episodes if config.context == "all" else min(config.exploration, problem.episodes)
        )
        """E, of the longest trial."""

    def reseed(self, seed: int) -> None:
        """Draw actions and batches from the stream of `seed` from now on."""
        self._generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """A round for every episode: the posterior is drawn from before each."""
        return CollectionPlan(rounds=episodes, episodes_per_round=1)

    def begin_trial(self, batch: int) -> Carry:
        """Nothing is known of the task: the latent comes from the prior."""
        prior = Belief.prior(batch, self.config.latent, self._device)
        return _Beliefs(prior.sample(self._generator), prior)

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """Sample from the policy that the latent chooses."""
        inputs = torch.cat([self._encoding.observation(step.observation), carry.latent], dim=-1)
        action = self._box.from_unit(self._model.actor(inputs).sample(self._generator))
        return Action(action, {"variance": carry.belief.precision.reciprocal().mean(-1)}), carry

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """Take an episode into the posterior; draw the next one's latent, from the prior while exploration goes on."""
        belief = self._infer(carry.belief, rollout)
        episode = rollout.episode_index[0] + 1  # the one that comes
        exploring = (episode < self.config.exploration)[:, None]
        prior = Belief.prior(len(episode), self.config.latent, self._device)
        drawn = Belief(*(torch.where(exploring, *pair) for pair in zip(prior, belief, strict=True)))
        return _Beliefs(drawn.sample(self._generator), belief)

    def belief_variance(self, rollout: Rollout) -> Tensor:
        """[T, B] of the posterior as the episode began, which exploration does not draw from."""
        return rollout.record["variance"]

    def learn(self, trial: Trial) -> Metrics:
        """Remember the trials, then make the updates their steps are worth. Three host syncs, however many tasks and
        updates there are, where the replay memories lie on the device.
        """
        updates = self._pace.updates(self._remember(trial))
        metrics = {
            "replay/size": float(len(self._replay)),
            "replay/tasks": float(len(self._shelf)),
            "charts/updates": float(updates),
        }
        return {**metrics, **make_updates(updates, self._update)}

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, replay memories and whose they are, sampling stream, counts."""
        return {
            "encoder": self._encoder.state_dict(),
            "model": self._model.state_dict(),
            "critic_optimizer": self._critic_optimizer.state_dict(),
            "policy_optimizer": self._policy_optimizer.state_dict(),
            "shelf": self._shelf.state_dict(),
            "replay": self._replay.state_dict(),
            "contexts": self._contexts.state_dict(),
            "generator": self._generator.get_state(),
            **self._pace.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Settings stay the agent's own. Raises `RuntimeError` when shapes differ."""
        self._encoder.load_state_dict(state["encoder"])
        self._model.load_state_dict(state["model"])
        if self.config.target_entropy is None:  # else it was learned
            self._model.set_temperature(self.config.temperature)
        load_optimizer(self._critic_optimizer, state["critic_optimizer"], self.config.learning_rate)
        load_optimizer(self._policy_optimizer, state["policy_optimizer"], self.config.learning_rate)
        self._shelf.load_state_dict(state["shelf"])
        self._replay.load_state_dict(state["replay"])
        self._contexts.load_state_dict(state["contexts"])
        self._generator.set_state(state["generator"].cpu())
        self._pace.load_state_dict(state)

    def _transitions(self, rollout: Rollout) -> Float[Tensor, "T B D"]:
        """What the encoder reads."""
        own = rollout.family_reward if self.config.context_reward == "family" else None
        parts = [
            self._encoding.observation(rollout.observation),
            self._box.to_unit(rollout.action),
            (rollout.reward if own is None else own)[..., None],
        ]
        if self.config.next_observation:
            parts.append(self._encoding.observation(rollout.next_observation))
        return torch.cat(parts, dim=-1)

    def _infer(self, belief: Belief, rollout: Rollout) -> Belief:
        """`belief` and what `rollout` shows, as far as the posterior may see it."""
        weight = rollout.valid
        if self.config.context == "exploration":
            weight = weight & (rollout.episode_index < self.config.exploration)
        mean, variance = self._encoder(self._transitions(rollout).transpose(0, 1))
        return belief.times(mean, variance, weight.t().to(torch.float32))

    def _remember(self, trial: Trial) -> int:
        """Put the trials on their tasks' shelves. Returns how many steps there were."""
        rollout = trial.rollout
        names = ("observation", "action", "reward", "next_observation", "terminated")
        episodes = self._episodes(trial)
        counts = rollout.valid.sum(0).tolist()
        slots, times = rollout.valid.t().nonzero(as_tuple=True)  # slot by slot, each in order of time
        rows = {name: getattr(rollout, name)[times, slots].split(counts) for name in names}
        for slot, spec in enumerate(trial.specs):
            buffer, fresh = self._shelf.place(spec.id)
            if fresh:
                self._replay.clear(buffer)
                self._contexts.clear(buffer)
            self._replay.append({name: column[slot] for name, column in rows.items()}, buffer)
            self._contexts.append({name: column[slot : slot + 1] for name, column in episodes.items()}, buffer)
        return sum(counts)

    def _episodes(self, trial: Trial) -> dict[str, Tensor]:
        """The episodes contexts are made of: transitions [B, E, H, D], and which of them were played.

        A trial of fewer episodes than the longest has some of which nothing was played.
        """
        transitions: list[Tensor] = []
        played: list[Tensor] = []
        for rollout in trial.rounds[: self._context_episodes]:
            missing = self._horizon - len(rollout.valid)
            transitions.append(functional.pad(self._transitions(rollout), (0, 0, 0, 0, 0, missing)).transpose(0, 1))
            played.append(functional.pad(rollout.valid, (0, 0, 0, missing)).t())
        fewer = self._context_episodes - len(played)
        return {
            "transitions": functional.pad(torch.stack(transitions, dim=1), (0, 0, 0, 0, 0, fewer)),
            "played": functional.pad(torch.stack(played, dim=1), (0, 0, 0, fewer)),
        }

    def _context(self, buffers: Tensor) -> Belief:
        """The posteriors of the M tasks in `buffers`, each after none to all of a recent trial's first episodes."""
        trials = {name: rows[:, 0] for name, rows in self._contexts.draw(1, self._generator, buffers).items()}
        played = trials["played"]
        share = torch.rand(len(buffers), 1, dtype=torch.float64, generator=self._generator, device=self._device)
        count = (share * (played.any(2).sum(1, keepdim=True) + 1)).to(torch.int64)
        before = torch.arange(played.shape[1], device=self._device) < count
        weight = (played & before[..., None]).to(torch.float32)
        mean, variance = self._encoder(trials["transitions"].flatten(1, 2))
        return Belief.prior(len(buffers), self.config.latent, self._device).times(mean, variance, weight.flatten(1))

    def _update(self) -> dict[str, Tensor]:
        """One step of encoder, critics, policy and targets; its losses and figures, each a scalar."""
        buffers = torch.randint(
            len(self._shelf), (self.config.meta_batch,), generator=self._generator, device=self._device
        )
        belief = self._context(buffers)
        batch = {name: rows.flatten(0, 1) for name, rows in self._draw(buffers).items()}
        latent = belief.sample(self._generator).repeat_interleave(self.config.batch, dim=0)
        observation = self._encoding.observation(batch["observation"])
        inputs = torch.cat([observation, latent.detach()], dim=-1)  # no gradient of the policy reaches the encoder

        divergence = belief.divergence().mean()
        seen = torch.cat([observation, latent], dim=-1)
        target = self._targets(batch, latent.detach())
        critic_loss, value = self._model.critic_loss(seen, self._box.to_unit(batch["action"]), target)
        self._critic_optimizer.zero_grad()
        (critic_loss + self.config.kl_weight * divergence).backward()
        self._critic_optimizer.step()

        policy_loss, entropy = self._model.policy_loss(inputs, self._generator)
        log_temperature = self._model.log_temperature
        surplus = entropy - (self.config.target_entropy or 0.0) * self._encoding.action_size
        self._policy_optimizer.zero_grad()
        (policy_loss + log_temperature * surplus).backward()
        self._policy_optimizer.step()

        self._model.average()
        return {
            "losses/critic_loss": critic_loss,
            "losses/policy_loss": policy_loss,
            "losses/divergence": divergence,
            "losses/entropy": entropy,
            "losses/temperature": log_temperature.exp(),
            "losses/value": value,
            "meta/posterior_std": belief.std.mean(),
            "belief/kl": divergence,
        }

    def _draw(self, buffers: Tensor) -> Mapping[str, Tensor]:
        """Transitions of the tasks in `buffers`, of exploration or not: columns [M, N, ...]."""
        return self._replay.draw(self.config.batch, self._generator, buffers)

    def _targets(self, batch: Mapping[str, Tensor], latent: Tensor) -> Tensor:
        """[M N] the value each transition shows."""
        following = torch.cat([self._encoding.observation(batch["next_observation"]), latent], dim=-1)
        return self._model.target(
            batch["reward"], batch["terminated"], following, self.config.discount, self._generator
        )
