#!/usr/bin/env bash
# One would guess: a recurrent learner keeps, beside each step, the memory that the step began with, since that is what
# it begins with when it learns from a sequence that starts there.
# What happens: skrl's PPO_RNN keeps the memory that the step ended with, in all steps but the first after an update or a
# reset: what acting begins with and what it ends with become one object, and that is written down after the step.
# A sequence learned from then begins with a memory that has already seen its first observation.
# Date: 2026-12-01, skrl 2.1.1, torch 2.13.0, gymnasium 1.4.0, Python 3.11. Why it matters here: a memory that is carried
# over the start of a trial gives away the trial before; docs/keep-your-learner.md lets skrl learn from whole trials.
set -euo pipefail
here=$(mktemp -d)  # a temporary folder
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 gymnasium==1.4.0 skrl==2.1.1
cd "$here" && "$here/venv/bin/python" - <<'PROGRAM'
import gymnasium
import skrl
import torch
from skrl.agents.torch.ppo import PPO_RNN
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import CategoricalMixin, DeterministicMixin, Model
from skrl.trainers.torch import SequentialTrainer

STEPS, SLOTS, SIZE = 6, 2, 8  # no pole falls in so few steps
torch.manual_seed(0)
env = wrap_env(gymnasium.make_vec("CartPole-v1", SLOTS, vectorization_mode="sync"), verbose=False)


class Recurrent(Model):
    def __init__(self, outputs):
        spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
        super().__init__(**spaces, device="cpu")
        self.core = torch.nn.GRU(self.num_observations, SIZE, batch_first=True)
        self.head = torch.nn.Linear(SIZE, outputs)

    def get_specification(self):
        return {"rnn": {"sequence_length": STEPS, "sizes": [(1, SLOTS, SIZE)]}}

    def compute(self, inputs, role=""):
        length = STEPS if self.training else 1
        seen = inputs["observations"].view(-1, length, self.num_observations)
        out, state = self.core(seen, None if self.training else inputs["rnn"][0])
        return self.head(out.flatten(0, 1)), {"rnn": [state]}


class Policy(CategoricalMixin, Recurrent):
    def __init__(self):
        Recurrent.__init__(self, env.action_space.n)
        CategoricalMixin.__init__(self)


class Value(DeterministicMixin, Recurrent):
    def __init__(self):
        Recurrent.__init__(self, 1)
        DeterministicMixin.__init__(self)


policy = Policy()
learner = PPO_RNN(
    models={"policy": policy, "value": Value()},
    memory=RandomMemory(memory_size=2 * STEPS, num_envs=SLOTS),  # no update within STEPS
    observation_space=env.observation_space,
    action_space=env.action_space,
    cfg={"rollouts": 2 * STEPS, "experiment": {"write_interval": 0, "checkpoint_interval": 0}},
)
settings = {"timesteps": STEPS, "headless": True, "disable_progressbar": True}
SequentialTrainer(env=env, agents=learner, cfg=settings).train()

kept = learner.memory.get_tensor_by_name
observations = kept("observations")[:STEPS].transpose(0, 1)
with torch.no_grad():
    after, _ = policy.core(observations, torch.zeros(1, SLOTS, SIZE))  # of each step, from nothing
before = torch.cat([torch.zeros(SLOTS, 1, SIZE), after[:, :-1]], dim=1)
stored = kept("rnn_policy_0")[:STEPS].reshape(STEPS, SLOTS, SIZE).transpose(0, 1)
same = lambda other: [bool(torch.allclose(stored[:, t], other[:, t], atol=1e-5)) for t in range(STEPS)]
print(f"skrl {skrl.__version__}, torch {torch.__version__}, gymnasium {gymnasium.__version__}")
print("the memory kept beside each step is the one that the step began with:", same(before))
print("the memory kept beside each step is the one that the step ended with:", same(after))
late = same(before) == [True] + [False] * (STEPS - 1) and same(after)[1:] == [True] * (STEPS - 1)
raise SystemExit(not late)
PROGRAM
