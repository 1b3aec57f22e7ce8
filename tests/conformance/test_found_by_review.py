"""What the review of the algorithms had found, by number: the tests that hold each, and those that stand nowhere else.

Each was seen to fail, by its assertion, on the commit named, the one before its mend, with today's tests in the place
of that commit's. Adapted there: imports of `agents.common.optimiser`, and for `check_take_over`, which came with A2's
mend, the kit and tests of that mend beside the contracts that they ask for.
"""

import ast
import functools
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import taskgen
from agents.evaluation import statistics
from agents.training.experiment import held_out_source, load_experiment
from registry.cli import main
from registry.config import Part
from taskgen.interaction.build import build_agent, problem_of

ROOT = Path(__file__).parents[2]
HERE = "tests/conformance/test_found_by_review.py"
PBT = "tests/plugins/runners/test_pbt.py"
SCORES = "tests/plugins/runners/test_poet_scores.py"
CURRENCY = "tests/conformance/test_currency.py"
SPLIT = "tests/taskgen/test_split.py"
LOOKS = "tests/taskgen/interaction/test_looks.py"
STAGES = "tests/agents/training/test_stages_of_agents.py"
HELD: dict[str, dict[str, tuple[str, ...]]] = {
    "A1": {"bdc374d": (f"{PBT}::test_who_is_judged_has_the_settings_of_the_best_also_once_resumed",)},
    "A2": {
        "bdc374d": (
            f"{PBT}::test_explored_learning_rates_are_those_that_are_learned_with",
            "tests/conformance/test_agents.py::test_heirs_play_by_their_own_settings_and_streams",
        )
    },
    "A3": {
        "bdc374d": (
            f"{PBT}::test_members_are_selected_by_what_they_earn_once_they_have_adapted",
            f"{SCORES}::test_agents_that_adapt_are_judged_by_whole_trials",
        )
    },
    "A4": {"bdc374d": (f"{SCORES}::test_an_accepted_score_is_what_the_pair_earns_afterwards",)},
    "A5": {
        "6c76134": (
            "tests/conformance/test_goals.py::test_most_is_paid_exactly_at_the_goal",
            "tests/conformance/test_goals.py::test_the_family_pays_most_where_the_dense_reward_does",
        )
    },
    "A6": {
        "6c76134": (
            f"{CURRENCY}::test_a_curriculum_around_what_pays_otherwise",
            f"{CURRENCY}::test_poet_moves_rewards_with_tasks_and_judges_by_the_family",
        )
    },
    "A7": {
        "6c76134": (
            f"{CURRENCY}::test_a_curriculum_around_what_pays_otherwise",
            f"{CURRENCY}::test_solvable_is_told_by_a_player_of_the_family_s_own_task",
            f"{CURRENCY}::test_regret_is_never_below_zero",
            f"{CURRENCY}::test_poet_moves_rewards_with_tasks_and_judges_by_the_family",
        )
    },
    "A8": {
        "bdc374d": (
            "tests/agents/test_ppo.py::test_a_small_learning_rate_is_what_was_asked",
            "tests/agents/test_ppo.py::test_the_learning_rate_falls_in_a_straight_line_to_what_is_set",
            "tests/agents/test_rl2.py::test_a_small_learning_rate_is_what_was_asked",
            "tests/agents/test_rl2.py::test_schedules_fall_to_their_end",
        )
    },
    "A9": {
        "1fd6806": (
            "tests/agents/training/test_steps.py::test_steps_are_those_that_were_played",
            f"{LOOKS}::test_trials_end_early_on_an_accelerator",
            "tests/plugins/runners/test_paired.py::test_regret_by_hand",
        )
    },
    "A10": {
        "d1a5d18": (
            f"{HERE}::test_a10_three_seeds_are_as_unsure_as_student_says_and_two_say_nothing",
            "tests/agents/training/test_few_tasks.py::test_a_finite_source_is_judged_on_its_distinct_tasks",
        )
    },
    "A11": {
        "e0dec87": (
            f"{HERE}::test_a11_a_run_that_would_be_judged_on_its_training_tasks_is_refused",
            f"{HERE}::test_a11_unless_it_is_meant_and_then_the_report_says_so",
            f"{HERE}::test_a11_the_papers_tasks_for_testing_are_those_judged_on",
            f"{SPLIT}::test_the_same_goal_is_never_on_both_sides_of_a_task_file",
            f"{SPLIT}::test_two_sets_that_differ_in_luck_alone_are_not_disjoint",
        )
    },
    "A12": {"1fd6806": (f"{HERE}::test_a12_trials_too_short_to_adapt_are_refused",)},
    "A13": {"bdc374d": ("tests/plugins/runners/test_poet.py::test_children_are_tasks_that_there_have_never_been",)},
    "A14": {
        "8983f0a": (
            "tests/plugins/generators/test_diayn.py::test_the_discriminator_is_scaled_by_states_of_episodes_alone",
        )
    },
    "A15": dict.fromkeys(("fe0112c", "eb910d3"), (f"{STAGES}::test_an_agent_learns_in_every_stage",)),
    "A16": {"bdc374d": ("tests/plugins/runners/test_trial_return.py::test_runners_report_the_return_of_a_trial",)},
    "A17": {
        "fe0112c": (
            "tests/agents/test_maml.py::test_tasks_count_the_same_however_long_their_episodes_last",
            "tests/agents/test_maml.py::test_so_they_do_in_the_curvature",
            "tests/agents/test_promp.py::test_tasks_count_the_same_however_long_their_episodes_last",
        )
    },
    "A18": {"cce4628": ("tests/emulated/check_chunk.py::test_a_captured_chunk_follows_its_batch",)},
    "A19, streams of heirs": {"bdc374d": (f"{PBT}::test_heirs_have_random_streams_of_their_own",)},
    "A19, luck of later episodes": {
        "1fd6806": (f"{LOOKS}::test_an_episode_has_the_same_luck_after_the_others_and_beside_them",)
    },
    "A19, waits of PEARL": {
        "fe0112c": ("tests/agents/test_pearl.py::test_host_syncs_do_not_grow_with_tasks_or_updates",)
    },
    "B, schedules of runners": {
        "bdc374d": (
            f"{PBT}::test_schedules_fall_to_the_end_of_the_run",
            f"{SCORES}::test_what_stays_as_it_begins_is_said",
        )
    },
    "B, how SAC is judged": {
        "fe0112c": (
            "tests/agents/test_sac.py::test_it_is_judged_by_its_mean_action",
            f"{HERE}::test_b_sac_may_be_judged_by_an_action_that_is_drawn",
        )
    },
    "B, ACCEL across a split": {"e0dec87": (f"{SPLIT}::test_what_training_tasks_are_made_into_are_training_tasks",)},
    "B, blame of slots that wait": {"1fd6806": (f"{LOOKS}::test_nothing_is_blamed_on_a_task_while_its_slot_waits",)},
}
"""Number -> the commit before its mend -> tests of today that fail there."""

QUICK = (
    *("training.iterations=2", "training.tasks=8", "training.episodes=2", "training.evaluate_every=0"),
    *("evaluation.tasks=4", "evaluation.final_tasks=6", "evaluation.players=[]", "device=cpu"),
)
NETWORK = "agent.network.hidden_size=4"


@functools.cache
def functions_of(file: str) -> set[str]:
    """Functions of a file of tests."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_number_is_held_by_tests_that_there_are() -> None:
    assert {number.partition(",")[0] for number in HELD} == {*(f"A{n}" for n in range(1, 20)), "B"}
    assert sum(number.startswith("B, ") for number in HELD) == 4
    for number, seen in HELD.items():
        for commit, held in seen.items():
            assert re.fullmatch(r"[0-9a-f]{7}", commit), number
            for file, _, test in (place.partition("::") for place in held):
                assert test.startswith("test_"), number
                assert test in functions_of(file), f"{number}: {file} has no {test}"


def intervals(x):
    """Mean and interquartile mean of runs' values [S, N] on the same tasks, by today's function or the one before."""
    if "intervals" in vars(statistics):
        return statistics.intervals(x)
    return vars(statistics)["crossed_intervals"](x, np.random.default_rng(0))


def test_a10_three_seeds_are_as_unsure_as_student_says_and_two_say_nothing() -> None:
    """Runs that earn 1, 2 and 3 on every task: 2 +- 4.302653 / sqrt(3); resampling never leaves [1, 3]."""
    runs = np.array([[1.0], [2.0], [3.0]]) * np.ones(40)
    for found in intervals(runs):
        assert found == pytest.approx((2.0, 2.0 - 2.484138, 2.0 + 2.484138), abs=1e-5)
    for found in intervals(runs[:2]):
        assert np.isnan(found[1:]).all()


def test_a11_a_run_that_would_be_judged_on_its_training_tasks_is_refused(tmp_path, capsys) -> None:
    words = ["train", "rl2-bandit", "family=grid-navigation", *QUICK, NETWORK]
    assert main([*words, "--run", str(tmp_path / "run")]) != 0
    assert "evaluation.same_tasks=true" in capsys.readouterr().err


def test_a11_unless_it_is_meant_and_then_the_report_says_so(tmp_path, capsys) -> None:
    run, page = tmp_path / "run", tmp_path / "page.html"
    words = ["train", "rl2-bandit", "family=grid-navigation", "evaluation.same_tasks=true", *QUICK, NETWORK]
    assert main([*words, "--run", str(run)]) == 0, capsys.readouterr().err
    assert main(["report", str(run), "-o", str(page)]) == 0
    assert "same tasks, new luck" in page.read_text(encoding="utf-8")


def test_a11_the_papers_tasks_for_testing_are_those_judged_on() -> None:
    """Distraction trains on every 11th of 576 cities, cooking is tested in kitchen 10."""
    for family, knob, of_testing in (
        ("{name='bus', variant='distraction'}", "permutation", {n for n in range(576) if n % 11}),
        ("cooking", "kitchen", {10}),
    ):
        experiment = load_experiment("rl2-bandit", [f"family={family}", "evaluation.players=[]"]).config
        world = taskgen.build_family(experiment.family.name, experiment.family.settings)
        judged = {spec.context[knob] for spec in held_out_source(experiment, world).ask(50)}
        assert judged - of_testing == set(), family


@pytest.mark.parametrize("agent", ["maml", "promp", "reptile"])
def test_a12_trials_too_short_to_adapt_are_refused(agent, tmp_path, capsys) -> None:
    """Ten episodes where a round has twenty: one round, after which nobody plays."""
    family = "family={name='point-navigation', horizon=5}"
    words = ["train", "rl2-bandit", family, f"agent={{name='{agent}', hidden=[4]}}", *QUICK, "training.episodes=10"]
    assert main([*words, "--run", str(tmp_path / "run")]) != 0
    assert "training.episodes = 10" in capsys.readouterr().err


def test_b_sac_may_be_judged_by_an_action_that_is_drawn() -> None:
    problem = problem_of(
        taskgen.build_family("point-navigation"), episodes=1, seed=0, device=torch.device("cpu"), updates=1
    )
    said = {}
    for judged in ("mean", "sampled", "neither"):
        try:
            build_agent(Part.model_validate({"name": "sac", "judged": judged}), problem)
            said[judged] = ""
        except Exception as error:  # noqa: BLE001 (whatever a build that has no such setting says)
            said[judged] = str(error)
    assert [judged for judged, problem in said.items() if not problem] == ["mean", "sampled"]
