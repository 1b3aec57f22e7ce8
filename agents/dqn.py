"""DQN: action values learned off-policy by one network for all tasks; the opponent of agents with an episodic memory.

Told nothing, as by default, it learns one way to play for all tasks, and learns it slowly: what an episode showed
reaches the values by many small steps. Told the task descriptor it is a contextual oracle for discrete actions.

*What adapts*: nothing.  *What is learned*: the action values Q_theta; theta' are older weights.

    y_t = sum_{k < m} discount^k r_{t+k} + discount^m Q_theta'(s_{t+m}, argmax_a Q_theta(s_{t+m}, a)),
    min_theta E [ huber(Q_theta(s_t, a_t) - y_t) ],  m = n, or less where the episode ends

with nothing after a terminated step. Acts greedily, by chance epsilon at random; when it is judged by the last epsilon.

Reference: Mnih et al. 2015, "Human-level control through deep reinforcement learning", algorithm 1; van Hasselt, Guez
and Silver 2016, "Deep Reinforcement Learning with Double Q-learning", equation 4; for n steps Sutton and Barto 2018,
"Reinforcement Learning: An Introduction", section 7.1, without correction for actions that are no longer greedy.

Differences from the papers: transitions come as whole trials, after which the updates they are worth are made in one
go; Adam; rewards are not clipped; an episode cut by the horizon is bootstrapped from its true last observation.

Axes: T time, B trials, N transitions of a batch, A actions.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from agents.common.context import Context, ContextEncoder
from agents.common.exploration import epsilon_greedy
from agents.common.optimiser import Adam, load_optimizer
from agents.common.pace import Pace, make_updates
from agents.common.replay import Replay
from agents.common.returns import n_step_returns
from agents.common.vision import ImageConfig, vision
from agents.networks.mlp import mlp
from agents.reference.player import number_of_actions
from registry.config import Config, Width
from taskgen.interaction.agent import Action, Carry, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class DQNConfig(Config):
    """Settings of `DQN`."""

    context: Context = Field(
        "none", description="What is told of the task: its descriptor, nothing, or its one-hot training number."
    )
    numbers: int = Field(128, ge=1, description="Training tasks that get a number, where the context is one-hot.")
    image: ImageConfig = Field(default=ImageConfig(), description="How observations that are images are read.")
    hidden: tuple[Width, ...] = Field((64, 64), min_length=1, description="Widths of the hidden layers.")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate.")
    discount: float = Field(0.99, ge=0, le=1, description="Discount per step.")
    n_step: int = Field(3, ge=1, description="Rewards of a target before it bootstraps (paper: 1).")
    double: bool = Field(default=True, description="Choose the action to bootstrap from by the newest weights.")
    target_updates: int = Field(200, ge=1, description="Updates after which the older weights are renewed.")
    batch: int = Field(64, ge=1, description="Transitions per update.")
    capacity: int = Field(100_000, ge=1, description="Transitions remembered.")
    warm_up: int = Field(500, ge=0, description="Environment steps before any update.")
    updates_per_step: float = Field(0.25, gt=0, description="Updates per environment step after the warm-up.")
    epsilon_first: float = Field(1.0, ge=0, le=1, description="Probability of a random action at first.")
    epsilon: float = Field(0.02, ge=0, le=1, description="The same in the end, and where the agent is judged.")
    epsilon_steps: int = Field(5000, ge=0, description="Environment steps over which it falls from one to the other.")


class DQN:
    """No carry."""

    def __init__(self, config: DQNConfig, problem: Problem) -> None:
        actions = number_of_actions(problem)
        self.config = config
        self._device = problem.device
        self._inputs = ContextEncoder(problem, config.context, config.numbers)
        self.needs_descriptor = self._inputs.needs_descriptor
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed)
            image, inputs = vision(config.image, problem, self._inputs.size)
            sizes = (inputs, *config.hidden)
            self._values = nn.Sequential(*image, mlp(sizes), nn.Linear(sizes[-1], actions)).to(problem.device)
        self._older = copy.deepcopy(self._values)
        self._optimizer = Adam(self._values.parameters(), lr=config.learning_rate)
        self.generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self._replay = Replay(config.capacity, problem.device)
        self._pace = Pace(config.warm_up, config.updates_per_step)
        self.explores = True
        self._steps = 0
        self._updates_done = 0

    @property
    def epsilon(self) -> float:
        """Probability of a random action, now."""
        first, last, steps = self.config.epsilon_first, self.config.epsilon, self.config.epsilon_steps
        share = min(1.0, self._steps / steps) if self.explores and steps else 1.0
        return first + share * (last - first)

    def reseed(self, seed: int) -> None:
        """Draw actions and batches from the stream of `seed` from now on."""
        self.generator.manual_seed(seed)

    def frozen(self) -> "DQN":
        """The agent as it is judged: with the last epsilon."""
        judged = copy.copy(self)
        judged.explores = False
        judged.generator = torch.Generator(self._device).set_state(self.generator.get_state())
        return judged

    def plan(self, episodes: int) -> CollectionPlan:
        """One round: nothing adapts."""
        return CollectionPlan(rounds=1, episodes_per_round=episodes)

    def begin_trial(self, batch: int) -> Carry:
        """No state."""
        return ()

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """The action of the highest value, or any."""
        values = self._values(self._inputs(step.observation, step.descriptor))
        return Action(epsilon_greedy(values, self.epsilon, self.generator)), carry

    def decide(self, carry: Carry, step: Step) -> tuple[dict[str, Tensor], Carry]:
        """The values, and the logits of what they and epsilon make of them."""
        values = self._values(self._inputs(step.observation, step.descriptor))
        best = (values == values.amax(1, keepdim=True)).to(values.dtype)
        greedy = best / best.sum(1, keepdim=True)
        probabilities = (1 - self.epsilon) * greedy + self.epsilon / values.shape[1]
        return {"values": values, "logits": probabilities.log()}, carry

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """Nothing adapts."""
        return carry

    def learn(self, trial: Trial) -> Metrics:
        """Remember the trials, then make the updates their steps are worth. Few host syncs, whatever their number."""
        self._inputs.update(trial.rollout)
        epsilon = self.epsilon
        steps = self._remember(trial.rollout)
        self._steps += steps
        updates = self._pace.updates(steps)
        metrics = {"replay/size": float(len(self._replay)), "charts/updates": float(updates), "charts/epsilon": epsilon}
        return {**metrics, **make_updates(updates, self._update)}

    def state_dict(self) -> dict[str, Any]:
        """Both networks, optimiser, replay memory, numbered tasks, sampling stream, counts."""
        return {
            "values": self._values.state_dict(),
            "older": self._older.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "replay": self._replay.state_dict(),
            "context": self._inputs.state_dict(),
            "generator": self.generator.get_state(),
            "updates_done": self._updates_done,
            "explored": self._steps,
            **self._pace.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Settings stay the agent's own. Raises `RuntimeError` when shapes differ."""
        self._values.load_state_dict(state["values"])
        self._older.load_state_dict(state["older"])
        load_optimizer(self._optimizer, state["optimizer"], self.config.learning_rate)
        self._replay.load_state_dict(state["replay"])
        self._inputs.load_state_dict(state["context"])
        self.generator.set_state(state["generator"].cpu())
        self._updates_done = state["updates_done"]
        self._steps = state["explored"]
        self._pace.load_state_dict(state)

    def _remember(self, rollout: Rollout) -> int:
        """Append the valid steps with what followed them, in order of time. Returns how many there were."""
        returns, following, discount = transitions(rollout, self.config.discount, self.config.n_step)
        columns = {
            "observation": rollout.observation,
            "action": rollout.action,
            "return": returns,
            "next_observation": following,
            "discount": discount,
        }
        if rollout.descriptor is not None:
            columns["descriptor"] = rollout.descriptor.expand(len(rollout.reward), -1, -1)
        rows = {name: column[rollout.valid] for name, column in columns.items()}
        self._replay.append(rows)
        return len(rows["return"])

    def _update(self) -> dict[str, Tensor]:
        """One step of the weights; its loss and mean value, each a scalar."""
        batch = self._replay.draw(self.config.batch, self.generator)
        inputs = self._inputs(batch["observation"], batch.get("descriptor"))
        value = self._values(inputs).gather(1, batch["action"][:, None])[:, 0]
        loss = functional.smooth_l1_loss(value, self._targets(batch))
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._updates_done += 1
        if self._updates_done % self.config.target_updates == 0:
            self._older.load_state_dict(self._values.state_dict())
        return {"losses/value_loss": loss, "losses/value": value.mean()}

    @torch.no_grad()
    def _targets(self, batch: Mapping[str, Tensor]) -> Tensor:
        """[N] the value each transition shows."""
        following = self._inputs(batch["next_observation"], batch.get("descriptor"))
        older = self._older(following)
        chosen = (self._values(following) if self.config.double else older).argmax(1, keepdim=True)
        return batch["return"] + batch["discount"] * older.gather(1, chosen)[:, 0]


def transitions(rollout: Rollout, discount: float, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns of up to `steps` steps [T, B], the observations after them [T, B, ...] and what these count [T, B].

    They count nothing after a terminated step.
    """
    goes_on = ~(rollout.terminated | rollout.truncated)
    returns, last = n_step_returns(rollout.reward, goes_on, discount, steps)
    number = torch.arange(len(last), device=last.device)[:, None]
    counts = discount ** (last - number + 1).to(returns.dtype) * ~rollout.terminated.gather(0, last)
    slot = torch.arange(last.shape[1], device=last.device)
    return returns, rollout.next_observation[last, slot], counts
