"""The benchmarks of what agents remember: their figures by hand, and plans that resolve."""

import itertools

import numpy as np
import pytest
import torch

from agents.training.experiment import load_experiment
from benchmarks import cores, episodic_control, episodic_memory, memory_page
from benchmarks.harness import row, seeds_row
from taskgen.interaction.agent import Rollout


@pytest.mark.parametrize(("core", "world"), [*itertools.product(cores.CORES, cores.WORLDS)])
def test_cores_are_planned_for_the_longest_trial_they_are_judged_on(core, world):
    setting = cores.WORLDS[world]
    config = load_experiment(setting.experiment, cores.overrides(core, setting)).config
    longest = 4 * setting.episodes * setting.steps
    assert config.evaluation.episodes == 4 * config.training.episodes == 4 * setting.episodes
    network = config.agent.settings["network"]
    assert network["name"] == f"builtin/{core}"
    assert network.get("window", longest) == longest


@pytest.mark.parametrize(("world", "kind"), [*itertools.product(episodic_memory.WORLDS, episodic_memory.KINDS)])
def test_memories_are_planned_for_whole_trials(world, kind):
    setting = episodic_memory.WORLDS[world]
    config = load_experiment("rl2-barcode", episodic_memory.overrides(setting, kind)).config
    assert config.training.episodes == setting.family["situations"] * setting.family["visits"]
    assert config.agent.settings["network"]["reinstate"] is (kind == "reinstated")
    assert len(setting.bayes) == setting.family["visits"]


def test_episodes_needed():
    short = [0.0] * 7 + [1.0] * 30
    window = episodic_control.WINDOW
    assert episodic_control.episodes_needed(short) == 7 - 2  # two misses in twenty are nine tenths
    assert episodic_control.episodes_needed([0.5] * 50) == 50
    assert episodic_control.episodes_needed([1.0] * window) == 0


def test_optimism_is_what_is_computed(monkeypatch):
    monkeypatch.setattr(episodic_control, "SLOTS", 400)
    monkeypatch.setattr(episodic_control, "TAKEN", (1, 3))
    found = episodic_control.optimism(3)
    assert found[3][0] > 0.1
    for entry, computed in found.values():
        assert entry == pytest.approx(computed, abs=0.05)
    assert found[1][1] == pytest.approx(0.0, abs=1e-9)


def test_staying_by_reward_and_passage():
    """Two situations, the first visit in one order and the second in the other; three tasks."""
    world = episodic_memory.World({"situations": 2, "visits": 2}, 1, 1, (), ())
    first = [  # by task: (choice, state, paid) of situations 0 and 1, then whether each stays
        ([(0, 0, 1), (1, 0, 1)], [True, False]),  # common, paid; rare, paid
        ([(1, 1, 0), (0, 1, 0)], [False, True]),  # common, not paid; rare, not paid
        ([(0, 0, 1), (1, 0, 1)], [False, False]),
    ]
    seen, action, reward = torch.zeros(8, 3, 5), torch.zeros(8, 3, dtype=torch.int64), torch.zeros(8, 3)
    for task, (visits, stays) in enumerate(first):
        for place in range(4):
            situation = place if place < 2 else 3 - place
            choice, state, paid = visits[situation]
            if place >= 2:
                choice = choice if stays[situation] else 1 - choice
            seen[2 * place : 2 * place + 2, task, 3 + situation] = 1.0
            seen[2 * place + 1, task, 1 + state] = 1.0
            action[2 * place, task], reward[2 * place + 1, task] = choice, float(paid)
    none = torch.zeros(8, 3, dtype=torch.bool)
    rollout = Rollout(seen, action, reward, none, none, seen, none, none, action, ~none, {})
    expected = {(True, True): 0.5, (False, True): 0.0, (True, False): 0.0, (False, False): 1.0}
    assert episodic_memory.stays(world, rollout) == expected
    assert np.array_equal(episodic_memory.steps_of(world, reward)[0, 0, 0], [0.0, 1.0])


def test_control_worlds_play(monkeypatch):
    """A few episodes of every agent in every world."""
    monkeypatch.setattr(episodic_control, "LEARNED", (1, 2, 2))
    for world, setting in episodic_control.WORLDS.items():
        if world in ("catch-pixels", "maze"):
            for agent in ("mfec", "nec-learned", "dqn"):
                returns = episodic_control.course(setting._replace(episodes=3), agent, 0)
                assert len(returns) == 3
                assert all(np.isfinite(returns))


def test_the_page_shows_what_was_measured_and_nothing_else():
    rows = [
        row("bandit-10, gru: return of 10 episodes", 6.5, 6.4, 6.6),
        row("bandit-10, gru: bytes of carry", 1234.0),
        row("bandit-10, snail: return of 10 episodes", 6.625),
        row("bandit-10, snail: an aim", 1.0),
        row("tabular, gru: return of 10 episodes", 150.0),
        row("what has no world", 1.0),
    ]
    text = memory_page.tables([{"benchmark": "other", "rows": rows}, {"benchmark": "cores", "rows": rows}])
    assert "| bandit-10 | return of 10 episodes |\n|---|---|\n| gru | 6.5 [6.4, 6.6] |\n| snail | 6.625 |" in text
    assert "- bandit-10, gru: bytes of carry: 1,234\n- bandit-10, snail: an aim: 1" in text
    assert "- tabular, gru: return of 10 episodes: 150" in text
    assert text.endswith(
        "Not recorded yet: `python -m benchmarks.episodic_memory`, `python -m benchmarks.episodic_control`."
    )
    assert "no world" not in text


def test_figures_are_drawn_of_what_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr(episodic_memory, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    rows = [row(f"barcode-bandit, shut: return of visit {visit}", visit, visit - 0.5, visit + 0.5) for visit in (1, 2)]
    episodic_memory.draw_visits(rows)
    share = {(common, paid): 0.5 for common in (True, False) for paid in (True, False)}
    episodic_memory.draw({"shut": [share, share]})
    for name in ("visits.svg", "two-step.svg"):
        assert "<svg" in (tmp_path / "docs" / name).read_text()
    text = memory_page.tables([{"benchmark": "episodic_memory", "rows": rows}])
    assert "(visits.svg)" in text
    assert "(two-step.svg)" not in text


def test_the_best_core_is_found_among_all_that_are_recorded():
    def earned(core, *values):
        return seeds_row(f"bandit-100, {core}: return of 100 episodes", values)

    rows = [earned("gru", 76.0, 77.0, 78.5), earned("lstm", 76.0, 76.0, 77.0), earned("gru twice", 99.0, 99.0, 99.0)]
    (found,) = cores.best("bandit-100", rows)
    assert found["what"] == "bandit-100, the best core: return of 100 episodes (gru)"
    assert (found["values"], found["target"], found["met"]) == ([76.0, 77.0, 78.5], ">= 77", True)
    assert cores.part_of(found["what"]) == "bandit-100, the best core"
    assert not [*cores.best("bandit-10", rows)]
    assert not [*cores.best("tabular", rows)]
