#!/usr/bin/env bash
# One would guess: reset(seed=s) begins the same episode whatever was played before; Gymnasium's LunarLander makes a new
# world at every reset for that (its issue 728).
# What happens: BipedalWalker-v3 goes on in the world of the episode before. Reset with the same seed and given the same
# actions, most episodes become others than a new environment's; a world made anew at reset is all that it takes.
# Date: 2026-12-01, gymnasium 1.4.0, Box2D 2.3.10, numpy 2.4.6, Python 3.11. Why it matters here: players are compared on
# the same tasks with the same luck, and a run is to repeat; `bipedal-walker` makes a world an episode.
set -euo pipefail
here=$(mktemp -d)  # a temporary folder
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q numpy==2.4.6 gymnasium==1.4.0 box2d==2.3.10 pygame-ce==2.5.8
cd "$here" && "$here/venv/bin/python" -W ignore - <<'PROGRAM'
from importlib.metadata import version

import gymnasium
import numpy as np
from gymnasium.envs.box2d.bipedal_walker import BipedalWalker

SEEDS = 20


def episode(env, seed):
    """What is seen and earned in 300 steps at most of random actions, [T, 25]."""
    env.reset(seed=seed)
    actions = np.random.default_rng(seed).uniform(-1.0, 1.0, (300, 4)).astype(np.float32)
    seen = []
    for action in actions:
        observation, reward, terminated, *_ = env.step(action)
        seen.append([*observation, reward])
        if terminated:
            break
    return np.array(seen)


class WorldOfItsOwn(BipedalWalker):
    def _destroy(self):
        super()._destroy()
        self.world = type(self.world)()


def others(make):
    """How many episodes of a used environment differ from a new one's, and by how much their returns do at most."""
    used, count, most = make(), 0, 0.0
    for seed in range(SEEDS):
        new, again = episode(make(), seed), episode(used, seed)
        if not np.array_equal(new, again):
            count, most = count + 1, max(most, abs(new[:, -1].sum() - again[:, -1].sum()))
    return count, most


print(f"gymnasium {gymnasium.__version__}, Box2D {version('box2d')}, numpy {np.__version__}")
counts = []
for name, make in (("BipedalWalker-v3", BipedalWalker), ("with a world an episode", WorldOfItsOwn)):
    count, most = others(make)
    counts.append(count)
    print(f"{name}: {count} of {SEEDS} episodes of a used environment are others; returns differ by up to {most:.1f}")
raise SystemExit(not (counts[0] > 0 and counts[1] == 0))
PROGRAM
