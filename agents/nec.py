"""NEC, neural episodic control: values looked up by similarity in an embedding that is learned across tasks.

*What adapts*: a dictionary for each action of keys and values, in which what a trial's episodes have shown is entered
at once, and whose keys and values then move to fit it.  *What is meta-learned*: the embedding h = f_phi(s), so that
states are neighbours that are worth the same.

    Q(s, a)  = sum_i w_i v_i,  w_i = k(h, h_i) / sum_j k(h, h_j),  k(h, h_i) = 1 / (||h - h_i||^2 + delta),
               over the p entries of a that are nearest to h = f_phi(s)
    Q^N_t    = sum_{j < N} discount^j r_{t+j} + discount^N max_a Q(s_{t+N}, a)
    v_i     <- v_i + rate (Q^N - v_i)              where s has an entry of its own, else a new one (h, Q^N)
    h_i, v_i descend  (Q(s_t, a_t) - Q^N_t)^2      within the trial
    min_phi  E (Q(s_t, a_t) - Q^N_t)^2             across trials, Q from the entries of the trial's episodes before

The gradient for phi goes through both h and the keys, which are made anew by the same phi from the states they stand
for. Entries that were longest neither written nor among the nearest make room; `memory/evicted` counts them.

Reference: Pritzel et al. 2017, "Neural Episodic Control", sections 3.1 to 3.3, equations 1 to 5, algorithm 1.

Differences from the paper: the dictionaries last for a trial and begin empty, where the paper has one for good, so that
keys and values are of the trial, epsilon falls within it, and keys and values move by plain gradient descent, while the
embedding is learned by Adam from replayed trials; what an episode showed is entered at its end; states with an entry of
their own are known by a code of the state, not by their key; in replay each step is an entry of its own, with Q^N_t as
it was then; an action of which a dictionary knows nothing is worth 0; nothing is looked up after an end of the episode,
its horizon included. When it is judged it plays as in training, epsilon included.

Axes: T time, B trials, A actions, C capacity, D numbers of a key, p neighbours, M trials of an update.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from agents.common.encoding import StepEncoder
from agents.common.episodic_memory import EpisodicConfig, Memory, StateCode, Steps
from agents.common.exploration import epsilon_greedy
from agents.common.nearest import nearest
from agents.common.optimiser import Adam, load_optimizer
from agents.common.pace import Pace, make_updates
from agents.common.replay import Replay
from agents.common.returns import n_step_returns
from agents.common.vision import ImageConfig, vision
from agents.networks.mlp import mlp
from agents.reference.player import number_of_actions
from registry.config import Width
from taskgen.interaction.agent import Action, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class NECConfig(EpisodicConfig):
    """Settings of `NEC`; its tables are the dictionaries."""

    width: int = Field(32, ge=1, description="Numbers of a key.")
    image: ImageConfig = Field(default=ImageConfig(), description="How observations that are images are read.")
    hidden: tuple[Width, ...] = Field((64,), min_length=1, description="Widths of the embedding's hidden layers.")
    neighbours: int = Field(10, ge=1, description="Entries p that a value is looked up from (paper: 50).")
    delta: float = Field(1e-3, gt=0, description="What the kernel adds to a squared distance.")
    n_step: int = Field(100, ge=1, description="Rewards N of a target before it bootstraps.")
    rate: float = Field(0.5, gt=0, le=1, description="Share by which an entry moves towards a new target.")
    descent_steps: int = Field(
        1, ge=0, description="Gradient steps of the dictionary's keys and values after each episode; 0: they stay."
    )
    descent_rate: float = Field(0.01, gt=0, description="Learning rate of these steps.")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate, of the embedding.")
    batch: int = Field(4, ge=1, description="Trials per update.")
    trials: int = Field(64, ge=1, description="Trials remembered.")
    warm_up: int = Field(500, ge=0, description="Environment steps before any update.")
    updates_per_step: float = Field(0.01, gt=0, description="Updates per environment step after the warm-up.")


class NEC:
    """The carry holds the dictionaries."""

    needs_descriptor = False

    def __init__(self, config: NECConfig, problem: Problem) -> None:
        self._actions = number_of_actions(problem)
        self.config = config
        self._device = problem.device
        self._longest = problem.horizon * problem.episodes
        self._encoder = StepEncoder(problem.observation_space, problem.action_space)
        width = self._encoder.observation_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed)
            image, inputs = vision(config.image, problem, width)
            sizes = (inputs, *config.hidden)
            embedding = nn.Sequential(*image, mlp(sizes), nn.Linear(sizes[-1], config.width))
            self._embedding = embedding.to(problem.device)
        generator = torch.Generator().manual_seed(problem.seed)
        self._code = StateCode(width, config.decimals, generator).to(problem.device)
        self._optimizer = Adam(self._embedding.parameters(), lr=config.learning_rate)
        self._generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self._replay = Replay(config.trials, problem.device)
        self._pace = Pace(config.warm_up, config.updates_per_step)

    def reseed(self, seed: int) -> None:
        """Draw actions and batches from the stream of `seed` from now on."""
        self._generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """A round for every episode: the dictionaries are written after each."""
        return CollectionPlan(rounds=episodes, episodes_per_round=1)

    def begin_trial(self, batch: int) -> Memory:
        """Empty dictionaries."""
        return Memory.empty(batch, self._actions, self.config.capacity, self.config.width, self._device)

    def act(self, carry: Memory, step: Step) -> tuple[Action, Memory]:
        """The action of the highest value, or any."""
        key = self._embedding(self._encoder.observation(step.observation))
        near = nearest(key[:, None, None], carry.key, carry.held, self.config.neighbours)
        values = kernel_value(near.squared, carry.value[:, :, None].take_along_dim(near.place, -1), self.config.delta)
        carry = carry.found(near.place[:, :, 0], near.squared[:, :, 0].isfinite(), step.episode_index)
        record = {"value": values[..., 0].amax(1), **carry.figures}
        epsilon = self.config.exploration(step.episode_index)
        return Action(epsilon_greedy(values[..., 0], epsilon, self._generator), record), carry

    def adapt(self, carry: Memory, rollout: Rollout) -> Memory:
        """Enter an episode, then let keys and values fit it."""
        observation = self._encoder.observation(rollout.observation)
        key = self._embedding(observation).detach()
        steps = Steps(self._code(observation), key, rollout.action, self._targets(rollout), rollout.valid)
        carry = carry.write(steps, self.config.rate)
        for _ in range(self.config.descent_steps):
            carry = self._descend(carry, steps)
        return carry

    def learn(self, trial: Trial) -> Metrics:
        """Remember the trials, then make the updates their steps are worth. Few host syncs, whatever their number."""
        rollout = trial.rollout
        self._remember(rollout)
        shares = [rollout.record[name][-1].to(torch.float32).mean() for name in ("held", "evicted")]
        count, held, evicted = torch.stack([rollout.valid.sum().to(torch.float32), *shares]).tolist()
        updates = self._pace.updates(int(count))
        metrics = {
            "memory/held": held,
            "memory/evicted": evicted,
            "replay/trials": float(len(self._replay)),
            "charts/updates": float(updates),
        }
        return {**metrics, **make_updates(updates, self._update)}

    def state_dict(self) -> dict[str, Any]:
        """Embedding, optimiser, code of states, replayed trials, sampling stream, counts."""
        return {
            "embedding": self._embedding.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "code": self._code.state_dict(),
            "replay": self._replay.state_dict(),
            "generator": self._generator.get_state(),
            **self._pace.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Settings stay the agent's own. Raises `RuntimeError` when shapes differ."""
        self._embedding.load_state_dict(state["embedding"])
        load_optimizer(self._optimizer, state["optimizer"], self.config.learning_rate)
        self._code.load_state_dict(state["code"])
        self._replay.load_state_dict(state["replay"])
        self._generator.set_state(state["generator"].cpu())
        self._pace.load_state_dict(state)

    def _targets(self, rollout: Rollout) -> Tensor:
        """[T, B] N-step returns, with the values that the dictionaries gave when the steps were made."""
        goes_on, discount = ~(rollout.terminated | rollout.truncated), self.config.discount
        returns, last = n_step_returns(rollout.reward, goes_on, discount, self.config.n_step)
        value = torch.cat([rollout.record["value"], torch.zeros_like(rollout.reward[:1])])
        number = torch.arange(len(last), device=last.device)[:, None]
        weight = discount ** (last - number + 1).to(returns.dtype) * goes_on.gather(0, last)
        return returns + weight * value.gather(0, last + 1)

    @torch.enable_grad()
    def _descend(self, memory: Memory, steps: Steps) -> Memory:
        """One gradient step of each trial's keys and values."""
        key, value = (part.detach().requires_grad_() for part in (memory.key, memory.value))
        near = nearest(steps.key.transpose(0, 1)[:, None], key, memory.held, self.config.neighbours)
        found = kernel_value(near.squared, value[:, :, None].take_along_dim(near.place, -1), self.config.delta)
        taken = found.gather(1, steps.action.t()[:, None])[:, 0]
        loss = ((taken - steps.value.t()).square() * steps.valid.t()).sum(1) / steps.valid.sum(0).clamp(min=1)
        slopes = torch.autograd.grad(loss.sum(), [key, value])
        rate = self.config.descent_rate
        return memory._replace(key=key.detach() - rate * slopes[0], value=value.detach() - rate * slopes[1])

    def _remember(self, rollout: Rollout) -> None:
        """Append the trials, as far as they are as long as those the problem names."""
        columns = {
            "observation": rollout.observation,
            "action": rollout.action,
            "target": self._targets(rollout),
            "episode": rollout.episode_index,
            "valid": rollout.valid,
        }
        rows: dict[str, Tensor] = {}
        for name, column in columns.items():
            kept = column[: self._longest]
            missing = column.new_zeros(self._longest - len(kept), *column.shape[1:])
            rows[name] = torch.cat([kept, missing]).transpose(0, 1)
        self._replay.append(rows)

    def _update(self) -> dict[str, Tensor]:
        """One step of the embedding on replayed trials; its loss, a scalar."""
        trials = self._replay.draw(self.config.batch, self._generator)
        loss = self._loss(trials)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return {"losses/value_loss": loss}

    def _loss(self, trials: dict[str, Tensor]) -> Tensor:
        """Mean squared error of the values of steps [M, T], looked up in what earlier episodes had shown."""
        key, valid = self._embedding(self._encoder.observation(trials["observation"])), trials["valid"]
        earlier = trials["episode"][:, None, :] < trials["episode"][:, :, None]
        same = trials["action"][:, None, :] == trials["action"][:, :, None]
        usable = earlier & same & valid[:, None, :]  # [M, step, entry]
        length = key.square().sum(-1)
        squared = (length[:, :, None] + length[:, None, :] - 2 * key @ key.mT).clamp(min=0)
        squared = squared.masked_fill(~usable, torch.inf)
        nearest_ones = squared.topk(min(self.config.neighbours, squared.shape[-1]), largest=False)
        target = trials["target"]
        entries = target[:, None].expand_as(squared).gather(-1, nearest_ones.indices)
        error = kernel_value(nearest_ones.values, entries, self.config.delta) - target
        counts = valid & usable.any(-1)
        return (error.square() * counts).sum() / counts.sum().clamp(min=1)


def kernel_value(squared: Tensor, value: Tensor, delta: float) -> Tensor:
    """[...] means of `value` [..., p] weighted by 1 / (`squared` + delta); 0 where all are infinitely far.

    Pritzel et al. 2017, equations 1, 2 and 5.
    """
    weight = 1 / (squared + delta)
    return (weight * value).sum(-1) / weight.sum(-1).clamp(min=1e-30)
