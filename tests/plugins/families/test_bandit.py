"""The bandit: rewards as likely as the task says."""

import torch

from taskgen.build import build_family


def test_reward_frequencies_are_the_probabilities() -> None:
    probabilities = torch.tensor([0.0, 0.02, 0.3, 0.5, 0.77, 1.0])
    pulls, slots = 200, 120
    family = build_family("bandit", {"arms": 6, "pulls": pulls})
    batch = family.batch(slots)
    batch.set_tasks([family.spec({"probabilities": probabilities.tolist()}, seed=seed) for seed in range(slots)])
    batch.reset()
    arm = torch.arange(slots) % 6
    rewards = torch.stack([batch.step(arm).reward for _ in range(pulls)])
    assert set(rewards.unique().tolist()) == {0.0, 1.0}
    frequency = rewards.mean(0).view(-1, 6).mean(0)
    count = pulls * slots / 6
    sigma = (probabilities * (1 - probabilities) / count).sqrt()
    assert ((frequency - probabilities).abs() <= 4 * sigma).all()


def test_the_episode_ends_truncated_after_its_pulls() -> None:
    family = build_family("bandit", {"pulls": 3})
    batch = family.batch(2)
    batch.set_tasks([family.spec(seed=seed) for seed in range(2)])
    for _ in range(2):
        assert batch.reset().tolist() == [[0.0], [0.0]]
        outcomes = [batch.step(torch.tensor([0, 1])) for _ in range(3)]
        assert [outcome.truncated.tolist() for outcome in outcomes] == [[False] * 2, [False] * 2, [True] * 2]
        assert not any(outcome.terminated.any() for outcome in outcomes)
        assert all(outcome.observation.tolist() == [[0.0], [0.0]] for outcome in outcomes)


def test_the_picture_shows_every_arm() -> None:
    family = build_family("bandit", {"arms": 2})
    picture = family.render(family.spec({"probabilities": [0.25, 1.0]}))
    assert picture.splitlines() == ["arm 0  0.250  #####", "arm 1  1.000  " + "#" * 20]
