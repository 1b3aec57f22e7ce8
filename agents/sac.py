"""SAC: a contextual actor-critic that learns off-policy and keeps its actions as random as the reward allows.

Like `ppo` it is one policy for all tasks: told the task descriptor, the contextual oracle; told nothing, the best
policy that does not adapt. It needs fewer environment steps and more computation.

*What adapts*: nothing.  *What is learned*: policy pi, two critics Q_1, Q_2 and the temperature alpha.

    y      = r + discount (1 - terminated) (min_j Q'_j(s', c, a') - alpha log pi(a' | s', c)),  a' ~ pi(. | s', c)
    min_Q    sum_j E (Q_j(s, c, a) - y)^2
    min_pi   E [ alpha log pi(a | s, c) - min_j Q_j(s, c, a) ]
    min_alpha  -log alpha E [ log pi(a | s, c) + target entropy ]
    Q'     <- (1 - averaging) Q' + averaging Q

Reference: Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", equations 5-9 and 17-18, algorithm 1.

Differences from the paper: temperature learned through its logarithm; transitions come as whole trials, after which
the updates they are worth are made in one go.

When it is judged it plays the mean action, the tanh of the Gaussian's mean, as in the paper (section 7); with
`judged = "sampled"` it draws from its policy there too.

Other rewards than the environment's: transitions keep the reward of the trial's rollout as it is when `learn` is
called. A reward that itself keeps changing, such as that of a discriminator which learns along, is set as
`agent.reward_of`, and is then asked for every batch that is drawn (`taskgen.interaction.agent.Relabels`). It is no part
of the state.

Axes: T time, B trials, N transitions of a batch, A action dimensions, 2 critics.
"""

import copy
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from agents.common.context import Context, ContextEncoder
from agents.common.distributions import ActionBox, bounded_box
from agents.common.optimiser import Adam, load_optimizer
from agents.common.pace import Pace, make_updates
from agents.common.replay import Replay
from agents.common.soft_actor_critic import SoftActorCritic
from registry.config import Config, Width
from taskgen.interaction.agent import Action, Carry, CollectionPlan, Metrics, Problem, RewardOf, Rollout, Step, Trial


class SACConfig(Config):
    """Settings of `SAC`."""

    context: Context = Field(
        "descriptor", description="What is told of the task: its descriptor, nothing, or its one-hot training number."
    )
    numbers: int = Field(128, ge=1, description="Training tasks that get a number, where the context is one-hot.")
    hidden: tuple[Width, ...] = Field((256, 256), min_length=1, description="Widths of every network's hidden layers.")
    learning_rate: float = Field(3e-4, gt=0, description="Adam's learning rate, of all networks and the temperature.")
    discount: float = Field(0.99, ge=0, le=1, description="Discount per step.")
    averaging: float = Field(
        0.005, gt=0, le=1, description="Share of the critics that enters their targets, per update."
    )
    batch: int = Field(256, ge=1, description="Transitions per update.")
    capacity: int = Field(1_000_000, ge=1, description="Transitions remembered.")
    warm_up: int = Field(5000, ge=0, description="Environment steps with uniformly drawn actions, before any update.")
    updates_per_step: float = Field(1.0, gt=0, description="Updates per environment step after the warm-up.")
    judged: Literal["mean", "sampled"] = Field(
        "mean", description="Action played when it is judged: the policy's mean (paper), or one drawn as in training."
    )
    temperature: float | None = Field(None, gt=0, description="Weight of the entropy; left out, it is learned.")
    target_entropy: float = Field(
        -1.0,
        description="Entropy per action dimension that a learned temperature aims at, in nats, of actions scaled to "
        "[-1, 1] (paper: -1).",
    )


class SAC:
    """No carry."""

    def __init__(self, config: SACConfig, problem: Problem) -> None:
        space = bounded_box(problem, "sac")
        self.config = config
        self.reward_of: RewardOf | None = None
        self._device = problem.device
        self._inputs = ContextEncoder(problem, config.context, config.numbers)
        self.needs_descriptor = self._inputs.needs_descriptor
        self._box = ActionBox(space).to(problem.device)
        self._actions = int(torch.Size(space.shape).numel())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed)
            self._model = SoftActorCritic(
                self._inputs.size,
                config.hidden,
                self._actions,
                temperature=config.temperature or 1.0,
                averaging=config.averaging,
            ).to(problem.device)
        learned = [self._model.log_temperature] if config.temperature is None else []
        self._critic_optimizer = Adam(self._model.critics.parameters(), config.learning_rate)
        self._policy_optimizer = Adam([*self._model.actor.parameters(), *learned], config.learning_rate)
        self.generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self._replay = Replay(config.capacity, problem.device)
        self._pace = Pace(config.warm_up, config.updates_per_step)
        self.judging = False
        self.judged_action = config.judged

    def frozen(self) -> "SAC":
        """The agent as it is judged: it plays its policy even before the warm-up is over, by `judged`."""
        player = copy.copy(self)
        player.judging = True
        player.generator = torch.Generator(self._device)
        player.generator.set_state(self.generator.get_state())
        return player

    def reseed(self, seed: int) -> None:
        """Draw actions and batches from the stream of `seed` from now on."""
        self.generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """One round: nothing adapts."""
        return CollectionPlan(rounds=1, episodes_per_round=episodes)

    def begin_trial(self, batch: int) -> Carry:
        """No state."""
        return ()

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """Sample from the policy; during the warm-up uniformly. See `judged` for how it plays when it is judged."""
        if self._pace.warming_up and not self.judging:
            shape = (len(step.previous_reward), self._actions)
            unit = 2 * torch.rand(shape, generator=self.generator, device=self._device) - 1
        else:
            policy = self._model.actor(self._inputs(step.observation, step.descriptor))
            mean = self.judging and self.config.judged == "mean"
            unit = policy.mode() if mean else policy.sample(self.generator)
        return Action(self._box.from_unit(unit)), carry

    def decide(self, carry: Carry, step: Step) -> tuple[dict[str, Tensor], Carry]:
        """The policy by which the agent is judged; its mean action where that is played."""
        policy = self._model.actor(self._inputs(step.observation, step.descriptor))
        played = {"action": self._box.from_unit(policy.mode())} if self.config.judged == "mean" else {}
        return {**policy.parameters(), **played}, carry

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """Nothing adapts."""
        return carry

    def learn(self, trial: Trial) -> Metrics:
        """Remember the trials, then make the updates their steps are worth. Two host syncs, whatever their number."""
        self._inputs.update(trial.rollout)
        updates = self._pace.updates(self._remember(trial.rollout))
        metrics = {"replay/size": float(len(self._replay)), "charts/updates": float(updates)}
        return {
            **metrics,
            **make_updates(updates, lambda: self._update(self._replay.draw(self.config.batch, self.generator))),
        }

    def state_dict(self) -> dict[str, Any]:
        """Model, optimisers, replay memory, numbered tasks, sampling stream, counts."""
        return {
            "model": self._model.state_dict(),
            "critic_optimizer": self._critic_optimizer.state_dict(),
            "policy_optimizer": self._policy_optimizer.state_dict(),
            "replay": self._replay.state_dict(),
            "context": self._inputs.state_dict(),
            "generator": self.generator.get_state(),
            **self._pace.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Settings stay the agent's own. Raises `RuntimeError` when shapes differ."""
        self._model.load_state_dict(state["model"])
        if self.config.temperature is not None:  # else it was learned
            self._model.set_temperature(self.config.temperature)
        load_optimizer(self._critic_optimizer, state["critic_optimizer"], self.config.learning_rate)
        load_optimizer(self._policy_optimizer, state["policy_optimizer"], self.config.learning_rate)
        self._replay.load_state_dict(state["replay"])
        self._inputs.load_state_dict(state["context"])
        self.generator.set_state(state["generator"].cpu())
        self._pace.load_state_dict(state)

    def _remember(self, rollout: Rollout) -> int:
        """Append the valid transitions in order of time; a truncated one is no end: its value is bootstrapped.

        Returns how many there were.
        """
        names = ("observation", "action", "reward", "next_observation", "terminated")
        columns = {name: getattr(rollout, name) for name in names}
        if rollout.descriptor is not None:
            columns["descriptor"] = rollout.descriptor.expand(len(rollout.reward), -1, -1)
        played = rollout.valid.nonzero(as_tuple=True)  # one host sync for all columns
        rows = {name: column[played] for name, column in columns.items()}
        self._replay.append(rows)
        return len(rows["reward"])

    def _update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One step of critics, policy, temperature and targets on `batch`; its losses and figures, each a scalar."""
        inputs = self._inputs(batch["observation"], batch.get("descriptor"))
        critic_loss, value = self._model.critic_loss(inputs, self._box.to_unit(batch["action"]), self._targets(batch))
        self._critic_optimizer.zero_grad()
        critic_loss.backward()
        self._critic_optimizer.step()

        policy_loss, entropy = self._model.policy_loss(inputs, self.generator)
        log_temperature = self._model.log_temperature
        surplus = entropy - self.config.target_entropy * self._actions
        self._policy_optimizer.zero_grad()
        (policy_loss + log_temperature * surplus).backward()
        self._policy_optimizer.step()

        self._model.average()
        return {
            "losses/critic_loss": critic_loss,
            "losses/policy_loss": policy_loss,
            "losses/entropy": entropy,
            "losses/temperature": log_temperature.exp(),
            "losses/value": value,
        }

    def _targets(self, batch: Mapping[str, Tensor]) -> Tensor:
        """[N] the value each transition shows."""
        observation, descriptor = batch["next_observation"], batch.get("descriptor")
        reward = batch["reward"]
        if self.reward_of is not None:
            reward = self.reward_of(batch["observation"], batch["action"], observation, descriptor)
        following = self._inputs(observation, descriptor)
        return self._model.target(reward, batch["terminated"], following, self.config.discount, self.generator)
