"""Exploration by prediction: paid for what knowing the task would improve in predicting what a step shows (MetaCURE).

An exploration policy plays the first episodes of a trial. Where its belief predicts rewards and next observations as
well as one who is told the task, there is nothing left to be found out; where it does worse, there is. Exploitation
then acts on the belief in which exploration ended, for the episodes that are left.

*What adapts*: the belief b_t = q(m | tau_:t) over the exploration episodes of a trial, its own and no others.  *What is
meta-learned*: encoder, decoder p, predictor p* that is told the task mu, and both policies with their values.

    max_{encoder, decoder}  E_trial sum_t ELBO_t   (see `common.belief`)
    min_{p*}                E [ -log p*(r_t | mu, a_t, s_t+1) (- log p*(s_t+1 | mu, s_t, a_t)) ]
    exploration             max E sum_t discount^t gain_t,  gain_t = E_{m ~ b_t} [ -log p(. | m) ] + log p*(. | mu)
    exploitation            max E sum_t discount^t r_t

Both policies are trained by PPO and read the observation and the belief, a constant to them. The descriptor mu is seen
in learning alone. When it is judged it is told nothing, and both policies sample their actions.

Reference: Zhang, Wang, Hu, Chen, Fan and Zhang 2021, "MetaCURE: Meta Reinforcement Learning with Empowerment-Driven
Exploration", section 4; the belief is VariBAD's (Zintgraf et al. 2020).

Differences from the paper: on-policy actor-critics instead of soft ones, so that contexts are a policy's own episodes
by themselves; the belief is taught by VariBAD's bound instead of by the critics; exploration is paid by the gain alone.

Axes: T time (all episodes of the trial), B trials, N steps, D descriptor, L latent.
"""

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from agents.common.belief import BeliefModel, TrialDecoder, certainty, drawn, variance
from agents.common.belief_agent import BeliefAgentConfig
from agents.common.encoding import StepEncoder
from agents.common.optimiser import Adam, load_optimizer
from agents.common.trial_actor_critic import TrialActorCritic
from registry.errors import UserError
from taskgen.interaction.agent import Action, Carry, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class PredictionGainConfig(BeliefAgentConfig):
    """Settings of `PredictionGain`."""

    exploration: int = Field(1, ge=1, description="Episodes at the start of a trial that explore.")
    informed_rate: float = Field(1e-3, gt=0, description="Adam's learning rate of the predictor that is told the task.")
    informed_updates: int = Field(8, ge=1, description="Its steps for each of `learn`.")
    informed_batch: int = Field(256, ge=1, description="Environment steps of each such step.")


class _State(NamedTuple):
    """The carry."""

    memory: Tensor
    """[B, H] of the encoder, which reads exploration alone."""
    belief: Tensor
    """[B, 2 L]."""


class PredictionGain:
    """The carry holds the encoder's memory and the belief."""

    initial_settings = frozenset({"std"})

    def __init__(self, config: PredictionGainConfig, problem: Problem) -> None:
        if not problem.descriptor_size:
            raise UserError(
                f"{problem.family} has an empty task descriptor: prediction-gain measures what knowing the task would "
                "improve, so it needs one. Use an agent that needs none, such as varibad or hyperx."
            )
        self.config = config
        self.needs_descriptor = True
        self.exploration_episodes = config.exploration
        self.annealed_settings = frozenset({"entropy"} if config.entropy else ())
        self.generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self.encode = StepEncoder(problem.observation_space, problem.action_space)
        seen, acted = self.encode.observation_size, self.encode.action_size
        inputs = seen + 2 * config.latent
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed)
            self.belief = BeliefModel(config, problem, self.encode, self.generator)
            self.explorer = TrialActorCritic(config, problem, inputs, self.generator)
            self.exploiter = TrialActorCritic(config, problem, inputs, self.generator)
            self.informed = TrialDecoder(
                problem.descriptor_size, seen, acted, config.decoder_hidden, states=config.decode_states
            ).to(problem.device)
        self._optimizer = Adam(self.informed.parameters(), lr=config.informed_rate)

    def reseed(self, seed: int) -> None:
        """Draw actions, minibatches and latents from the stream of `seed` from now on."""
        self.generator.manual_seed(seed)

    def frozen(self) -> "PredictionGain":
        """The agent as it is judged: told nothing."""
        judged = copy.copy(self)
        judged.needs_descriptor = False
        judged.generator = torch.Generator(self.generator.device).set_state(self.generator.get_state())
        judged.explorer, judged.exploiter = (
            policy.drawing_from(judged.generator) for policy in (self.explorer, self.exploiter)
        )
        return judged

    def plan(self, episodes: int) -> CollectionPlan:
        """One round: the belief is updated in `act`."""
        return CollectionPlan(rounds=1, episodes_per_round=episodes)

    def begin_trial(self, batch: int) -> _State:
        """Nothing seen yet."""
        memory = self.belief.encoder.initial(batch)
        return _State(memory, memory.new_zeros(batch, 2 * self.config.latent))

    @torch.no_grad()
    def act(self, carry: _State, step: Step) -> tuple[Action, _State]:
        """Update the belief by what exploration showed, its last step too; sample from the policy whose turn it is."""
        inputs, exploring, carry = self._advance(carry, step)
        explored, exploited = self.explorer.act(inputs), self.exploiter.act(inputs)
        turn = exploring.view(-1, *(1,) * (explored.value.ndim - 1))
        record = {
            name: torch.where(exploring, value, exploited.record[name]) for name, value in explored.record.items()
        }
        action = torch.where(turn, explored.value, exploited.value)
        return Action(action, {**record, "belief": carry.belief}), carry

    def decide(self, carry: _State, step: Step) -> tuple[dict[str, Tensor], _State]:
        """The policy that `act` samples from."""
        inputs, exploring, carry = self._advance(carry, step)
        explored, exploited = (agent.networks(inputs)[0].parameters() for agent in (self.explorer, self.exploiter))
        return {name: torch.where(exploring[:, None], explored[name], exploited[name]) for name in explored}, carry

    def _advance(self, carry: _State, step: Step) -> tuple[Tensor, Tensor, _State]:
        """What both policies read [B, I], whether it is exploration's turn [B], and the carry."""
        exploring, shows = step.episode_index < self.exploration_episodes, self._shows(step)
        belief, memory = self.belief.encoder.step(self.encode(step), carry.memory)
        carry = _State(*(torch.where(shows[:, None], *pair) for pair in zip((memory, belief), carry, strict=True)))
        return torch.cat([self.encode.observation(step.observation), carry.belief], -1), exploring, carry

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """Nothing to do between rounds."""
        return carry

    def learn(self, trial: Trial) -> Metrics:
        """PPO of both policies, each on its own episodes, then encoder and decoder, and the predictor that is told."""
        rollout = trial.rollout
        inputs = torch.cat([self.encode.observation(rollout.observation), rollout.record["belief"]], -1)
        exploring = rollout.episode_index < self.exploration_episodes
        explored, exploited = (replace(rollout, valid=rollout.valid & part) for part in (exploring, ~exploring))
        gain = self.gain(rollout)
        mean = (gain * explored.valid).sum() / explored.valid.sum()
        figures = self.explorer.learn(explored, inputs, gain)
        metrics = {name.replace("losses/", "losses/explore_"): value for name, value in figures.items()}
        metrics |= self.exploiter.learn(exploited, inputs, rollout.reward)
        self.belief.keep(explored, rollout.valid & self._shows(rollout))
        return {
            **metrics,
            **self.belief.learn(),
            **certainty(rollout),
            **self._inform(rollout),
            "bonus/gain": float(mean),
        }

    @torch.no_grad()
    def gain(self, rollout: Rollout) -> Tensor:
        """[T, B] nats by which one who is told the task predicts each step better than the belief before it."""
        assert rollout.descriptor is not None
        belief = rollout.record["belief"]
        shape = (*belief.shape[:2], self.config.latent)
        noise = torch.randn(shape, generator=self.generator, device=belief.device)
        told = rollout.descriptor.expand(len(rollout.reward), -1, -1)
        without, informed = (
            self.belief.step_errors(decoder, latent, rollout)
            for decoder, latent in ((self.belief.decoder, drawn(belief, noise)), (self.informed, told))
        )
        return without - informed

    def belief_variance(self, rollout: Rollout) -> Tensor:
        """[T, B] of the belief at every step, averaged over the latent's dimensions."""
        return variance(rollout.record["belief"])

    def state_dict(self) -> dict[str, Any]:
        """Belief, policies, predictor and its optimiser, sampling stream."""
        return {
            "belief": self.belief.state_dict(),
            "explorer": self.explorer.state_dict(),
            "exploiter": self.exploiter.state_dict(),
            "informed": self.informed.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        self.belief.load_state_dict(state["belief"])
        self.explorer.load_state_dict(state["explorer"])
        self.exploiter.load_state_dict(state["exploiter"])
        self.informed.load_state_dict(state["informed"])
        load_optimizer(self._optimizer, state["optimizer"], self.config.informed_rate)
        self.generator.set_state(state["generator"].cpu())

    def _shows(self, step: Step | Rollout) -> Tensor:
        """[..., B] bool, whether the belief is updated: while exploring, and by its end as exploitation begins."""
        ends = step.episode_start & (step.episode_index == self.exploration_episodes)
        return (step.episode_index < self.exploration_episodes) | ends

    def _inform(self, rollout: Rollout) -> Metrics:
        """Steps of the predictor that is told the task, on steps of all episodes."""
        assert rollout.descriptor is not None
        columns = {**self.belief.described(rollout), "told": rollout.descriptor.expand(len(rollout.reward), -1, -1)}
        steps = {name: column[rollout.valid] for name, column in columns.items() if name not in ("inputs", "valid")}
        losses: list[Tensor] = []
        for _ in range(self.config.informed_updates):
            count = (self.config.informed_batch,)
            rows = torch.randint(len(steps["reward"]), count, generator=self.generator, device=rollout.reward.device)
            batch = {name: column[rows][None] for name, column in steps.items()}
            loss = 0.5 * torch.stack(list(self.informed.errors(batch["told"], batch).values())).sum(0).mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            losses.append(loss.detach())
        return {"losses/informed_error": float(torch.stack(losses).mean())}
