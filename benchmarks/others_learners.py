"""Other people's learners on 5-armed, 10-pull bandits: LSTM PPO of two libraries, and what PPO earns without a memory.

    python -m benchmarks.others_learners                                 what is missing, then the record
    python -m benchmarks.others_learners --train torchrl/0 memoryless/2  these parts alone, each by itself
    python -m benchmarks.others_learners --steps 20000                   a trial run, which is not recorded

Stable-Baselines3's PPO and RecurrentPPO and TorchRL's ClipPPOLoss with an LSTM (`taskgen-metarl[sb3,torchrl]`) learn
from `taskgen.make_trials_vec` as docs/keep-your-learner.md has it, for as many steps as rl2_bandit has. Each is judged
by its likeliest actions on the same held-out tasks, with the same luck. A finished part is kept until all are recorded.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torchrl.collectors import Collector
from torchrl.envs import ExplorationType, GymWrapper, InitTracker, TransformedEnv, set_exploration_type
from torchrl.modules import LSTMModule, OneHotCategorical, ProbabilisticActor, set_recurrent_mode
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import taskgen
from agents.reference.guest import Guest
from benchmarks.harness import Resume, ahead_row, record, seeds_row
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.faces.stable_baselines import SlotVecEnv
from taskgen.faces.trials import TrialVectorEnv
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect
from taskgen.streams import seed_sequence

NAME, SEEDS = "others_learners", (0, 1, 2)
ARMS, PULLS, SLOTS = 5, 10, 500
STEPS, TASKS = 6_000_000, 20_000
"""Environment steps of training; held-out tasks that a learner is judged on."""
HIDDEN, RATE, EPOCHS, DISCOUNT, TRACE, ENTROPY = 64, 1e-3, 4, 1.0, 0.9, 0.01
"""Alike in all learners; a batch of learning is a trial in every slot."""
SOURCE = "Bayes-optimal play scores 6.660 exactly"


def trials(seed: int, mode: str) -> TrialVectorEnv:
    """Bandits to learn from, with what is fed back in one Box."""
    how = {"family": {"name": "bandit", "arms": ARMS}, "episodes": PULLS, "num_envs": SLOTS, "flat": True}
    return taskgen.make_trials_vec("domain-randomization", seed=seed, autoreset_mode=mode, **how)  # type: ignore[arg-type]


def stable_baselines(algorithm: Callable[..., Any], policy: str, settings: Mapping[str, Any]) -> Callable[..., Any]:
    """What trains a learner of Stable-Baselines3."""

    def train(seed: int, steps: int) -> Any:
        how = {"gamma": DISCOUNT, "gae_lambda": TRACE, "ent_coef": ENTROPY, "learning_rate": RATE, "n_epochs": EPOCHS}
        envs = SlotVecEnv(trials(seed, "SameStep"))
        batch = {"n_steps": PULLS, "batch_size": SLOTS * PULLS // 2}
        learner = algorithm(policy, envs, seed=seed, device="cpu", policy_kwargs=dict(settings), **batch, **how)
        return learner.learn(steps)

    return train


class Player:
    """A policy of TorchRL with an LSTM as `Guest` wants one."""

    def __init__(self, policy: Any, envs: TrialVectorEnv) -> None:
        self.policy = policy
        self.observation_space, self.action_space = envs.single_observation_space, envs.single_action_space

    @torch.no_grad()
    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> tuple[Any, Any]:
        """Actions [B], and the LSTM's state."""
        before = {} if state is None else dict(zip(("recurrent_state_h", "recurrent_state_c"), state, strict=True))
        seen = {"observation": torch.from_numpy(observation), "is_init": torch.from_numpy(episode_start)[:, None]}
        with set_exploration_type(ExplorationType.DETERMINISTIC if deterministic else ExplorationType.RANDOM):
            done = self.policy(TensorDict({**seen, **before}, [len(observation)]))
        state = done["next", "recurrent_state_h"], done["next", "recurrent_state_c"]
        return done["action"].argmax(-1).numpy(), state


def torchrl(seed: int, steps: int) -> Player:
    """Trains TorchRL's PPO with an LSTM."""
    torch.manual_seed(seed)
    envs = trials(seed, "Disabled")
    (size,) = envs.single_observation_space.shape or ()
    memory = LSTMModule(size, HIDDEN, in_key="observation", out_key="remembered")
    world = TransformedEnv(GymWrapper(envs), InitTracker())
    world.append_transform(memory.make_tensordict_primer())
    world.set_seed(seed)
    logits = TensorDictModule(torch.nn.Linear(HIDDEN, ARMS), ["remembered"], ["logits"])
    policy = ProbabilisticActor(
        TensorDictSequential(memory, logits), ["logits"], distribution_class=OneHotCategorical, return_log_prob=True
    )
    estimate = TensorDictModule(torch.nn.Linear(HIDDEN, 1), ["remembered"], ["state_value"])
    value = TensorDictSequential(memory, estimate)
    advantage = GAE(gamma=DISCOUNT, lmbda=TRACE, value_network=value, shifted=True)
    loss = ClipPPOLoss(policy, value, entropy_coeff=ENTROPY, normalize_advantage=True)
    optimiser = torch.optim.Adam(loss.parameters(), lr=RATE)
    batch = SLOTS * PULLS
    collector = Collector(world, policy, frames_per_batch=batch, total_frames=-(-steps // batch) * batch)
    for played in collector:
        with set_recurrent_mode(True):
            with torch.no_grad():
                advantage(played)
            for _ in range(EPOCHS):
                terms = loss(played)
                optimiser.zero_grad()
                sum(terms[name] for name in ("loss_objective", "loss_critic", "loss_entropy")).backward()
                torch.nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                optimiser.step()
    return Player(policy, envs)


LEARNERS: Mapping[str, tuple[str, Callable[[int, int], Any]]] = {
    "memoryless": (
        "PPO of Stable-Baselines3, without memory",
        stable_baselines(PPO, "MlpPolicy", {"net_arch": [HIDDEN]}),
    ),
    "recurrent": (
        "RecurrentPPO of Stable-Baselines3",
        stable_baselines(RecurrentPPO, "MlpLstmPolicy", {"lstm_hidden_size": HIDDEN, "net_arch": []}),
    ),
    "torchrl": ("LSTM PPO of TorchRL", torchrl),
}


def judged(policy: Any, tasks: int) -> float:
    """Mean return of a trial on so many held-out tasks."""
    family = build_family("bandit", {"arms": ARMS})
    specs = build_source(Part(name="domain-randomization"), family, seed_sequence(0, NAME)).ask(tasks)
    problem = problem_of(family, episodes=PULLS, seed=0, device=torch.device("cpu"))
    player = Guest(policy, problem, family.action_space, name="policy")
    played = collect(player, family.batch(tasks), specs, plan=player.plan(PULLS))
    return float(np.asarray(played.episode_returns()).sum(0).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, judge, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = [f"{name}/{seed}" for name in LEARNERS for seed in SEEDS]
    parser.add_argument("--train", nargs="+", choices=parts, metavar="LEARNER/SEED", help="these parts alone")
    parser.add_argument("--steps", type=int, default=STEPS, help="of training; other than %(default)s: not recorded")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    share = "-".join(given.train or ()).replace("/", "-")
    resume = Resume(NAME, {"steps": given.steps, "tasks": TASKS}, share=share)
    found: dict[str, float] = {}
    for part in given.train or parts:
        name, seed = part.split("/")
        train = LEARNERS[name][1]
        found[part] = resume.part(part, lambda train=train, seed=seed: judged(train(int(seed), given.steps), TASKS))
        print(f"{part}: {found[part]:.3f}", flush=True)
    if given.train or given.steps != STEPS:
        return
    returns = {name: [found[f"{name}/{seed}"] for seed in SEEDS] for name in LEARNERS}
    rows = [
        seeds_row(f"{what}: mean trial return", returns[name], None if name == "memoryless" else ">= 6.55", SOURCE)
        for name, (what, _) in LEARNERS.items()
    ]
    for name in ("recurrent", "torchrl"):
        what = f"{LEARNERS[name][0]} ahead of PPO without memory, trial return"
        rows.append(ahead_row(what, returns[name], returns["memoryless"]))
    libraries = ", ".join(f"{name} {version(name)}" for name in ("sb3-contrib", "stable-baselines3", "torchrl"))
    record(NAME, rows, seeds=SEEDS, notes="; ".join(filter(None, (libraries, resume.notes))))
    resume.done()


if __name__ == "__main__":
    main()
