"""Evolution strategies: a policy climbs by the ranks of its perturbations.

*What adapts*: nothing, a task's episodes are all alike.  *What is learned*: the policy's weights theta.

    g = 1 / (n sigma) * sum_i (u_i+ - u_i-) eps_i,  eps_i ~ N(0, 1)
    theta <- Adam(theta, -g + l2 * theta),  learning rate and sigma decay

u_i+ and u_i- are the centred ranks of what theta + sigma eps_i and theta - sigma eps_i return. A training trial has 2n
episodes side by side, one of each perturbed policy, so that one step of the batch steps all of them; in a trial of any
other length, and when it is judged, theta itself plays.

Reference: Salimans et al. 2017, "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", sections 2
and 2.1; settings and the factor of g, twice that of the gradient's usual estimate: the released code of Wang et al.
2019, "Paired Open-Ended Trailblazer (POET)".

Differences from both: equal returns have equal ranks, so that where all are equal nothing moves but for the decay of
the weights; on several tasks every one meets the same perturbations, which are ranked on each task and their ranks
averaged, so that no task counts more for its scale; continuous actions are squashed by tanh where the release clips.

Axes: n pairs, M = 2n members, B tasks, P parameters, K places of a trial.
"""

import copy
from typing import Any

import gymnasium as gym
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from agents.common.distributions import ActionBox, action_size
from agents.common.encoding import StepEncoder
from agents.common.evolution import adam, centred_ranks, decayed, no_moments, search_gradient
from agents.common.fast_policy import FastMLP
from agents.common.normalisation import RunningNormalizer
from registry.config import Config, Width
from registry.errors import UserError
from taskgen.interaction.agent import Action, CollectionPlan, Metrics, Problem, Rollout, Step, Trial
from taskgen.spaces import numbers_and_choices
from taskgen.streams import integer_seed


class ESConfig(Config):
    """Settings of `ES`. Rates, noise and decays are those of POET's release."""

    hidden: tuple[Width, ...] = Field((40, 40), description="Widths of the policy's tanh layers.")
    pairs: int = Field(0, ge=0, description="Antithetic pairs n (POET: 256); 0: half of a training trial's episodes.")
    spread: float = Field(0.1, gt=0, description="Standard deviation of the first weights.")
    learning_rate: float = Field(0.01, gt=0, description="Adam's first step size.")
    learning_rate_decay: float = Field(0.9999, gt=0, le=1, description="Factor of the step size after every update.")
    least_learning_rate: float = Field(
        0.001, ge=0, description="The step size decays no further than this; one that is below it stays."
    )
    noise: float = Field(0.1, gt=0, description="First standard deviation sigma of the perturbations.")
    noise_decay: float = Field(0.999, gt=0, le=1, description="Factor of sigma after every update.")
    least_noise: float = Field(0.01, gt=0, description="Sigma decays no further than this; one that is below it stays.")
    l2: float = Field(0.01, ge=0, description="Pull of the weights towards zero, beside g.")
    normalise: bool = Field(default=False, description="Standardise observations by all that was seen in training.")


class ES:
    """Discrete actions are the greatest output's, of each choice its own; continuous ones are tanh of the outputs in
    the action space's range.

    Unbounded actions lie in [-1, 1]. All randomness is a function of the seed and the number of updates: playing
    changes nothing.
    """

    needs_descriptor = False
    initial_settings = frozenset({"spread"})

    def __init__(self, config: ESConfig, problem: Problem) -> None:
        self.config = config
        self.pairs = config.pairs or max(1, problem.episodes // 2)
        """n; 0 in an agent that is being judged."""
        self._encoder = StepEncoder(problem.observation_space, problem.action_space)
        sizes = (self._encoder.observation_size, *config.hidden, action_size(problem.action_space))
        self._network = FastMLP(sizes, "tanh")
        self._device = problem.device
        numbers, self._counts = numbers_and_choices(problem.action_space)
        self._single = isinstance(problem.action_space, gym.spaces.Discrete)
        self._box = None if numbers is None else ActionBox(numbers).to(self._device)
        self.normalizer = RunningNormalizer(sizes[0]).to(self._device) if config.normalise else None
        self._seed = problem.seed
        self._generation = 0
        self._members: Tensor | None = None
        self._begin_at(
            config.spread * torch.randn(self._network.size, generator=self._generator("start"), device=self._device)
        )

    def adopt(self, other: "ES") -> None:
        """Go on from other weights with the optimiser as new: no moments, first learning rate, first noise.

        This is what POET does on an accepted transfer. The statistics of observations that the weights were learned
        with come along; the noise stream stays the agent's own. Raises `ValueError` where the policy has another shape.
        """
        self._begin_at(other.parameters)
        if self.normalizer is not None and other.normalizer is not None:
            self.normalizer.load_state_dict(other.normalizer.state_dict())

    def reseed(self, seed: int) -> None:
        """Draw perturbations from the stream of `seed` from now on."""
        self._seed = seed
        self._members = None

    def _begin_at(self, parameters: Float[Tensor, "P"]) -> None:
        if parameters.shape != (self._network.size,):
            raise ValueError(f"{tuple(parameters.shape)} parameters for a policy of {self._network.size}")
        self.parameters = parameters.detach().to(self._device, torch.float32, copy=True)
        """theta [P]."""
        self._moments = no_moments(self.parameters)
        self._steps = 0
        self.learning_rate, self.noise = self.config.learning_rate, self.config.noise
        self._members = None

    def frozen(self) -> "ES":
        """The agent as it is judged: theta as it is now, without noise, however long the trial."""
        judged = copy.copy(self)
        judged.pairs = 0
        return judged

    def plan(self, episodes: int) -> CollectionPlan:
        """All side by side. 2n episodes are one of each member, 2n + 1 one of theta besides; else theta plays all."""
        return CollectionPlan(1, episodes, side_by_side=True)

    def begin_trial(self, batch: int) -> Tensor:
        """[B, 0]: nothing adapts."""
        return torch.zeros(batch, 0, device=self._device)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """What each place's own policy does."""
        observation = self._read(step)
        places = len(observation) // len(carry)
        if self._trains(places):
            inputs = observation.view(len(carry), places, -1).transpose(0, 1)
            output = self._network(self.members()[:places], inputs).transpose(0, 1).flatten(0, 1)
        else:
            output = self._network(self.parameters[None], observation[None])[0]
        return Action(self._chosen(output)), carry

    def decide(self, carry: Tensor, step: Step) -> tuple[dict[str, Tensor], Tensor]:
        """What theta does: nothing is drawn."""
        return {"action": self._chosen(self._network(self.parameters[None], self._read(step)[None])[0])}, carry

    def adapt(self, carry: Tensor, rollout: Rollout) -> Tensor:
        """Nothing adapts."""
        return carry

    def refuse_length(self, episodes: int) -> None:
        """Raise `UserError` for trials of another number of episodes than the members'."""
        if not self._trains(episodes):
            raise UserError(
                f"evolution strategies with {self.pairs} pairs learn from trials of {2 * self.pairs} episodes side by "
                f"side, not {episodes}: set training.episodes to {2 * self.pairs}, or agent.pairs to 0"
            )

    def learn(self, trial: Trial) -> Metrics:
        """One update. Raises `UserError` for trials of another number of episodes than the members'."""
        self.refuse_length(trial.plan.episodes)
        returns = trial.episode_returns()[: 2 * self.pairs].double()
        utility = centred_ranks(returns).mean(1).float()
        gradient = search_gradient(utility, self.perturbations(), self.noise)
        before = self.parameters
        metrics = {"charts/learning_rate": self.learning_rate, "charts/noise": self.noise}
        self._descend(self.config.l2 * self.parameters - gradient)
        if self.normalizer is not None:
            rollout = trial.rollout
            self.normalizer.update(self._encoder.observation(rollout.observation[rollout.valid]))
        return metrics | {
            "losses/gradient_norm": float(gradient.norm()),
            "losses/step_norm": float((self.parameters - before).norm()),
            "losses/parameter_norm": float(self.parameters.norm()),
            "charts/failed_members": float((~returns.isfinite()).any(1).sum()),
        }

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser, and the place in the noise stream."""
        return {
            "parameters": self.parameters,
            "moments": list(self._moments),
            "steps": self._steps,
            "learning_rate": self.learning_rate,
            "noise": self.noise,
            "seed": self._seed,
            "generation": self._generation,
            **({} if self.normalizer is None else {"normalizer": dict(self.normalizer.state_dict())}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `ValueError` when the policy has another shape."""
        self._begin_at(state["parameters"])
        first, second = (moment.to(self._device, copy=True) for moment in state["moments"])
        self._moments = (first, second)
        self._steps, self._seed, self._generation = state["steps"], state["seed"], state["generation"]
        self.learning_rate, self.noise = state["learning_rate"], state["noise"]
        if self.normalizer is not None:
            self.normalizer.load_state_dict(state["normalizer"])

    def perturbations(self) -> Float[Tensor, "n P"]:
        """eps of the update to come."""
        shape = (self.pairs, self._network.size)
        return torch.randn(shape, generator=self._generator(self._generation), device=self._device)

    def members(self) -> Float[Tensor, "M+1 P"]:
        """The weights that play a training trial, by place: n plus, n minus, theta."""
        if self._members is None:
            away = self.noise * self.perturbations()
            here = self.parameters[None]
            self._members = torch.cat([here + away, here - away, here])
        return self._members

    def _read(self, step: Step) -> Tensor:
        """[N, O] what the policy reads."""
        observation = self._encoder.observation(step.observation)
        return observation if self.normalizer is None else self.normalizer(observation)

    def _chosen(self, output: Tensor) -> Tensor:
        """The action [N, ...] that the policy's `output` [N, A] says."""
        if self._single:
            return output.argmax(1)
        numbers, logits = output.tensor_split([output.shape[1] - sum(self._counts)], dim=1)
        chosen = [part.argmax(1, keepdim=True) for part in logits.split(list(self._counts), dim=1)]
        if self._box is None:
            return torch.cat(chosen, dim=1)
        return torch.cat([self._box.from_unit(numbers.tanh()), *(each.to(numbers.dtype) for each in chosen)], dim=1)

    def _trains(self, places: int) -> bool:
        return self.pairs > 0 and places // 2 == self.pairs

    def _generator(self, name: str | int) -> torch.Generator:
        return torch.Generator(self._device).manual_seed(integer_seed(self._seed, "es", name))

    def _descend(self, slope: Tensor) -> None:
        """A step of Adam, then decay of learning rate and noise."""
        config = self.config
        self._steps += 1
        self._generation += 1
        step, self._moments = adam(slope, self._moments, self._steps, self.learning_rate)
        self.parameters = self.parameters - step
        self.learning_rate = decayed(self.learning_rate, config.learning_rate_decay, config.least_learning_rate)
        self.noise = decayed(self.noise, config.noise_decay, config.least_noise)
        self._members = None
