"""DREAM: exploration looks for just what exploitation needs to know, and neither waits until the other has learned.

Exploitation is taught by a bottlenecked encoding of the task's descriptor, so that only what helps to earn is encoded.
Exploration is paid for what makes this encoding predictable from the episode so far, so it looks for that and nothing
else. In judging the prediction takes the descriptor's place.

*What adapts*: the prediction g(tau) of the task's encoding, from the one exploration episode with which a trial begins.
*What is meta-learned*: action values Q_task of exploitation and Q_exp of exploration, encoder f and decoder g.

    min_{Q_task, f}  E [ (Q_task(s, a, z) - y)^2 ] + weight max(|f(mu)|^2, bottleneck),  z: f(mu) + noise eps or g(tau)
    min_g            E mean_t |g(tau_:t) - f(mu)|^2,  f(mu) a constant
    r_t            = |f(mu) - g(tau_:t)|^2 - |f(mu) - g(tau_:t+1)|^2 - cost,   what Q_exp learns by

The rewards of an exploration episode telescope: they sum to the first distance less the last, less the costs. Both
values are learned by double DQN, where actions are continuous by soft actor-critics; Q_exp reads the observation and
what the decoder remembers. The descriptor mu is seen in training alone: half the trials are exploited by f(mu), the
others by g(tau). When it is judged it is never given mu, plays every exploitation episode by g(tau), and chooses
greedily, or by its policies' means, but for the last epsilon.

Reference: Liu, Raghunathan, Liang and Finn 2021, "Decoupling Exploration and Exploitation for Meta-Reinforcement
Learning without Sacrifices", section 4.1 to 4.3, algorithm 1; the bottleneck as a threshold is from the authors' code.

Differences from the paper: exploration also sees the goal and the reward of its episode; decoder and exploration share
one memory, a GRU that the decoder alone teaches, where the paper has an LSTM for each; rewards of exploration are
computed anew whenever an episode is replayed, by encoder and decoder as they are then; targets of n steps, without
correction for actions that are no longer greedy; updates come after whole trials. The last layer of the encoder begins
so that the entries of the first tasks' encodings have mean 0 and, together, variance 1, as an embedding of task numbers
would. Continuous actions, which the paper has none of, are those of a SAC whose critic alone teaches the encoder.

Axes: H steps of an episode, B trials, M trials of a batch, L width of the encoding, I width of a step, T
steps of all exploitation episodes.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from agents.common.encoding import StepEncoder
from agents.common.losses import weighted_mean
from agents.common.off_policy import OffPolicy, off_policy
from agents.common.optimiser import Adam, load_optimizer
from agents.common.pace import Pace, make_updates
from agents.common.replay import Replay
from agents.common.returns import n_step_returns
from agents.common.schedule import annealed
from agents.networks.mlp import mlp
from registry.config import Config, Width
from registry.errors import UserError
from taskgen.interaction.agent import Action, Carry, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class DREAMConfig(Config):
    """Settings of `DREAM`."""

    latent: int = Field(16, ge=1, description="Width of the encoding of the task (paper: 64).")
    hidden: tuple[Width, ...] = Field((64, 64), min_length=1, description="Widths of both values and of the encoder.")
    width: int = Field(64, ge=1, description="Width of the decoder's memory (paper: 64).")
    noise: float = Field(0.1, ge=0, description="Standard deviation of what is added to the encoding.")
    bottleneck: float = Field(10.0, ge=0, description="Squared norm of the encoding that costs nothing.")
    bottleneck_weight: float = Field(1.0, ge=0, description="Weight of what is beyond it.")
    cost: float = Field(0.1, ge=0, description="What every step of exploration costs it.")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate (paper: 1e-4).")
    discount: float = Field(0.99, ge=0, le=1, description="Discount per step, of both values.")
    n_step: int = Field(1, ge=1, description="Rewards of a target before it bootstraps.")
    target_updates: int = Field(
        200, ge=1, description="Updates after which older values of numbered actions are renewed."
    )
    averaging: float = Field(0.01, gt=0, le=1, description="Share of the newer values of a box of actions, per update.")
    target_entropy: float = Field(-1.0, description="Nats per dimension of such actions that policies keep (SAC: -1).")
    batch: int = Field(32, ge=1, description="Trials per update.")
    capacity: int = Field(4000, ge=1, description="Trials remembered (paper: 16,000).")
    warm_up: int = Field(2000, ge=0, description="Environment steps before any update.")
    updates_per_step: float = Field(0.02, gt=0, description="Updates per environment step after that (paper: .25).")
    epsilon_first: float = Field(1.0, ge=0, le=1, description="Probability of a random action at first.")
    epsilon: float = Field(0.01, ge=0, le=1, description="The same in the end, and where the agent is judged.")
    epsilon_steps: int = Field(250_000, ge=0, description="Environment steps over which it falls.")


_LEAST_SPREAD = 1e-6
"""Of the encodings of tasks that differ, squared; below it the scale would be that of rounding."""


class _Decoder(nn.Module):
    """A GRU over the steps of an episode, and the encoding of the task that its memory predicts."""

    def __init__(self, inputs: int, width: int, latent: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Sequential(nn.Linear(inputs, width), nn.ReLU())
        self.recurrence = nn.GRU(width, width)
        self.head = nn.Linear(width, latent)

    def initial(self, batch: int) -> Tensor:
        """[batch, W] zeros."""
        return self.head.weight.new_zeros(batch, self.width)

    def step(self, inputs: Tensor, memory: Tensor) -> Tensor:
        """[B, I], [B, W] -> memory [B, W]."""
        return torch.gru_cell(self.embedding(inputs), memory, *self.recurrence.all_weights[0])

    def sequence(self, inputs: Tensor) -> Tensor:
        """[H, B, I] -> memories [H, B, W] of episodes from their start."""
        return self.recurrence(self.embedding(inputs), self.initial(inputs.shape[1])[None])[0]


class _Networks(nn.Module):
    """Q_task, Q_exp, encoder f and decoder g."""

    def __init__(self, config: DREAMConfig, problem: Problem, encode: StepEncoder) -> None:
        super().__init__()

        def policy(beside: int) -> OffPolicy:
            return off_policy(
                problem,
                "dream",
                encode.observation_size + beside,
                config.hidden,
                target_updates=config.target_updates,
                averaging=config.averaging,
                target_entropy=config.target_entropy,
            )

        widths = (problem.descriptor_size, *config.hidden)
        self.exploit, self.explore = policy(config.latent), policy(config.width)
        self.encoder = nn.Sequential(mlp(widths), nn.Linear(widths[-1], config.latent))
        self.decoder = _Decoder(encode.size, config.width, config.latent)


class _State(NamedTuple):
    """The carry."""

    memory: Tensor
    """[B, W] of the decoder."""
    predicted: Tensor
    """[B, L] g of the exploration episode; zeros before it is over."""
    told: Tensor
    """[B] bool: whether exploitation is told the descriptor's encoding."""
    noise: Tensor
    """[B, L] that is added to it."""


class DREAM:
    """The carry holds what exploration remembers, and what it has found out."""

    exploration_episodes = 1

    def __init__(self, config: DREAMConfig, problem: Problem) -> None:
        if not problem.descriptor_size:
            raise UserError(
                f"{problem.family} has an empty task descriptor: dream learns from it what to find out, so nothing "
                "could be found out. Use an agent that needs none, such as rl2 or varibad."
            )
        self.config = config
        self.needs_descriptor = True
        self._device, self._horizon = problem.device, problem.horizon
        self._exploiting = max(0, problem.episodes - self.exploration_episodes) * problem.horizon
        self._encode = StepEncoder(problem.observation_space, problem.action_space)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed)
            self._networks = _Networks(config, problem, self._encode).to(problem.device)
        learned = [parameter for parameter in self._networks.parameters() if parameter.requires_grad]
        self._optimizer = Adam(learned, lr=config.learning_rate)
        self.generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self._trials = Replay(config.capacity, problem.device)
        self._pace = Pace(config.warm_up, config.updates_per_step)
        self._steps = 0
        self._updates_done = 0
        self._begun = torch.zeros((), dtype=torch.bool, device=problem.device)
        """Whether the encoder was scaled to the tasks."""

    @property
    def epsilon(self) -> float:
        """Probability of a random action, now."""
        config = self.config
        share = min(1.0, self._steps / config.epsilon_steps) if self.needs_descriptor and config.epsilon_steps else 1.0
        return annealed(config.epsilon_first, config.epsilon, 1 - share)

    def reseed(self, seed: int) -> None:
        """Draw actions, noise and batches from the stream of `seed` from now on."""
        self.generator.manual_seed(seed)

    def frozen(self) -> "DREAM":
        """The agent as it is judged: without descriptor, with the last epsilon."""
        judged = copy.copy(self)
        judged.needs_descriptor = False
        judged.generator = torch.Generator(self._device).set_state(self.generator.get_state())
        return judged

    def plan(self, episodes: int) -> CollectionPlan:
        """A round for every episode; the first explores."""
        return CollectionPlan(rounds=episodes, episodes_per_round=1)

    def begin_trial(self, batch: int) -> Carry:
        """Nothing found out; in training it is drawn who is told the descriptor."""
        told = torch.rand(batch, generator=self.generator, device=self._device) < 0.5 * self.needs_descriptor
        noise = torch.randn(batch, self.config.latent, generator=self.generator, device=self._device)
        return _State(self._networks.decoder.initial(batch), torch.zeros_like(noise), told, self.config.noise * noise)

    @torch.no_grad()
    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """The best action, or any: of exploration in the first episode, then of exploitation.

        Raises `UserError` where an agent that is judged is shown the descriptor, or one that learns is not.
        """
        if (step.descriptor is not None) != self.needs_descriptor:
            raise UserError(
                "dream is shown the task descriptor in training, and never where it is judged: play "
                "`taskgen.interaction.agent.judged(agent)`, which asks for none"
            )
        task = carry.predicted
        if step.descriptor is not None:
            encoded = self._networks.encoder(step.descriptor) + carry.noise
            task = torch.where(carry.told[:, None], encoded, task)
        observation = self._encode.observation(step.observation)
        memory = self._networks.decoder.step(self._encode(step), carry.memory)
        luck = {"epsilon": self.epsilon, "generator": self.generator, "judged": not self.needs_descriptor}
        explored = self._networks.explore.act(torch.cat([observation, memory], -1), **luck)
        exploited = self._networks.exploit.act(torch.cat([observation, task], -1), **luck)
        exploring = step.episode_index < self.exploration_episodes
        exploring = exploring.view(-1, *[1] * (explored.ndim - 1))
        return Action(torch.where(exploring, explored, exploited)), carry._replace(memory=memory)

    @torch.no_grad()
    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """After the exploration episode: predict the encoding of the task from it."""
        memory = at_last(self._networks.decoder.sequence(self._seen(rollout)), rollout.valid.sum(0))
        found = self._networks.decoder.head(memory)
        return carry._replace(predicted=torch.where(rollout.trial_start[0][:, None], found, carry.predicted))

    def learn(self, trial: Trial) -> Metrics:
        """Remember the trials, then make the updates their steps are worth. Two host syncs, whatever their number."""
        epsilon = self.epsilon
        self._remember(trial)
        steps = trial.played()
        self._steps += steps
        updates = self._pace.updates(steps)
        metrics = {"replay/size": float(len(self._trials)), "charts/updates": float(updates), "charts/epsilon": epsilon}
        return {**metrics, **make_updates(updates, self._update)}

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, replay memory, sampling stream, counts."""
        return {
            "networks": self._networks.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "trials": self._trials.state_dict(),
            "generator": self.generator.get_state(),
            "updates_done": self._updates_done,
            "explored": self._steps,
            "begun": self._begun,
            **self._pace.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Settings stay the agent's own. Raises `RuntimeError` when shapes differ."""
        self._networks.load_state_dict(state["networks"])
        load_optimizer(self._optimizer, state["optimizer"], self.config.learning_rate)
        self._trials.load_state_dict(state["trials"])
        self.generator.set_state(state["generator"].cpu())
        self._updates_done = state["updates_done"]
        self._steps = state["explored"]
        self._begun.fill_(state["begun"])
        self._pace.load_state_dict(state)

    def _seen(self, rollout: Rollout) -> Float[Tensor, "H+1 B I"]:
        """What is known before every step of an episode that begins a trial, and after the last one."""
        first, flags = rollout.steps, torch.zeros_like(rollout.trial_start)
        after = Step(rollout.next_observation, rollout.action, rollout.reward, flags, flags, rollout.episode_index)
        return torch.cat([self._encode(first)[:1], self._encode(after)])

    def _remember(self, trial: Trial) -> None:
        """Keep the trials: what exploration saw and did, and the steps of exploitation, all of one length."""
        explored, rest = trial.rounds[0], trial.rounds[1:]
        assert explored.descriptor is not None
        self._begin(explored.descriptor)
        over = explored.terminated | explored.truncated
        rows = {
            "descriptor": explored.descriptor,
            "seen": _trials_first([self._seen(explored)], self._horizon + 1),
            "explored_action": _trials_first([explored.action], self._horizon),
            "explored": _trials_first([explored.valid], self._horizon),
            "goes_on": _trials_first([explored.valid & ~over], self._horizon),
        }
        columns = {
            "observation": [self._encode.observation(rollout.observation) for rollout in rest],
            "next_observation": [self._encode.observation(rollout.next_observation) for rollout in rest],
            "action": [rollout.action for rollout in rest],
            "reward": [rollout.reward for rollout in rest],
            "played": [rollout.valid for rollout in rest],
            "follows": [rollout.valid & ~rollout.terminated & ~rollout.truncated for rollout in rest],
            "terminated": [rollout.terminated for rollout in rest],
        }
        if rest:
            rows |= {name: _trials_first(column, self._exploiting) for name, column in columns.items()}
            self._trials.append(rows)

    @torch.no_grad()
    def _begin(self, descriptor: Tensor) -> None:
        """Shift and scale what the encoder makes of the first tasks that differ, without asking whether they do."""
        encoded, head = self._networks.encoder(descriptor), self._networks.encoder[-1]
        assert isinstance(head, nn.Linear)
        centre = encoded.mean(0)
        spread = (encoded - centre).square().mean()
        first = ~self._begun & (spread >= _LEAST_SPREAD)  # one task says nothing of how far apart tasks are
        scale = torch.where(first, spread.rsqrt(), 1)
        head.weight.mul_(scale)
        head.bias.sub_(torch.where(first, centre, 0)).mul_(scale)
        self._begun |= first

    def _update(self) -> dict[str, Tensor]:
        """One step of all networks; losses and figures, each a scalar."""
        config, count = self.config, min(self.config.batch, len(self._trials))
        batch = {
            name: column if name == "descriptor" else column.transpose(0, 1)
            for name, column in self._trials.draw(count, self.generator).items()
        }
        encoded = self._networks.encoder(batch["descriptor"])
        memory = self._networks.decoder.sequence(batch["seen"])
        contents = self._networks.decoder.head(memory)
        lengths = batch["explored"].sum(0)
        distance = distances(encoded.detach(), contents)
        known = torch.arange(len(contents), device=self._device)[:, None] <= lengths
        decoder_loss = weighted_mean(distance, known.to(distance.dtype))
        bottleneck = encoded.square().sum(-1).clamp(min=config.bottleneck).mean()

        reward = exploration_rewards(distance.detach(), config.cost)
        explore_loss = self._explore_loss(batch, memory.detach(), reward)
        told = torch.rand(count, 1, generator=self.generator, device=self._device) < 0.5
        noise = torch.randn(encoded.shape, generator=self.generator, device=self._device)
        predicted = at_last(contents, lengths).detach()
        exploit_loss = self._exploit_loss(batch, torch.where(told, encoded + config.noise * noise, predicted))

        self._optimizer.zero_grad()
        (exploit_loss + explore_loss + decoder_loss + config.bottleneck_weight * bottleneck).backward()
        self._optimizer.step()
        self._updates_done += 1
        for policy in (self._networks.exploit, self._networks.explore):
            policy.renew(self._updates_done)
        return {
            "losses/exploit_loss": exploit_loss,
            "losses/explore_loss": explore_loss,
            "losses/decoder_loss": decoder_loss,
            "losses/bottleneck": bottleneck,
            "belief/first_distance": distance[0].mean(),
            "belief/last_distance": distance.gather(0, lengths[None]).mean(),
        }

    def _explore_loss(self, batch: Mapping[str, Tensor], memory: Tensor, reward: Tensor) -> Tensor:
        """Of exploration: the end of the episode, be it by the horizon, is the end of what can be found out."""
        hyper_state = torch.cat([batch["seen"][..., : self._encode.observation_size], memory], -1)
        following = self._networks.explore.following(hyper_state[1:], self.generator)
        target = self._target(reward, batch["goes_on"], batch["goes_on"], following)
        return self._networks.explore.loss(
            hyper_state[:-1], batch["explored_action"], target, batch["explored"], self.generator
        )

    def _exploit_loss(self, batch: Mapping[str, Tensor], task: Tensor) -> Tensor:
        """Of exploitation, and by way of `task` [M, L] of the encoder."""
        beside = task.expand(len(batch["reward"]), -1, -1)
        inputs = torch.cat([batch["observation"], beside], -1)
        after = torch.cat([batch["next_observation"], beside.detach()], -1)
        following = self._networks.exploit.following(after, self.generator)
        target = self._target(batch["reward"], batch["follows"], ~batch["terminated"], following)
        return self._networks.exploit.loss(inputs, batch["action"], target, batch["played"], self.generator)

    def _target(self, reward: Tensor, goes_on: Tensor, counts: Tensor, following: Tensor) -> Tensor:
        """[T, M] n rewards and, where it `counts`, the value of what follows them."""
        returns, last = n_step_returns(reward, goes_on, self.config.discount, self.config.n_step)
        ahead = last - torch.arange(len(last), device=last.device)[:, None] + 1
        return returns + self.config.discount**ahead * (following * counts).gather(0, last)


def distances(target: Float[Tensor, "M L"], contents: Float[Tensor, "H M L"]) -> Float[Tensor, "H M"]:
    """Squared distances of the predictions `contents` from `target`: up to a constant, -2 log q(target | tau_:t)."""
    return (contents - target).square().sum(-1)


def exploration_rewards(distance: Float[Tensor, "H+1 M"], cost: float) -> Float[Tensor, "H M"]:
    """How much nearer every step has brought the prediction, less what a step costs."""
    return distance[:-1] - distance[1:] - cost


def at_last(contents: Float[Tensor, "H M L"], lengths: Int[Tensor, "M"]) -> Float[Tensor, "M L"]:
    """The rows of `contents` after as many steps as the episodes had."""
    return contents[lengths, torch.arange(len(lengths), device=lengths.device)]


def _trials_first(rounds: Sequence[Tensor], length: int) -> Tensor:
    """Columns [H, B, ...] of some rounds, one after another, as [B, length, ...] with zeros at the end."""
    column = torch.cat(list(rounds))
    missing = column.new_zeros(length - len(column), *column.shape[1:])
    return torch.cat([column, missing]).transpose(0, 1)
