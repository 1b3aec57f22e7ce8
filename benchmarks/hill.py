"""A class of one's own, as docs/bring-your-environment.md has it."""

import gymnasium as gym
import numpy as np


class Hill(gym.Env):
    """Hold your place on a slope."""

    def __init__(self, slope=0.5):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.slope, self.time = slope, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = self.np_random.normal(0.0, 0.1, 1).astype(np.float32), 0
        return self.place.copy(), {}

    def step(self, action):
        self.place, self.time = self.place + action - np.float32(self.slope), self.time + 1
        return self.place.copy(), -abs(float(self.place[0])), False, self.time == 20, {}
