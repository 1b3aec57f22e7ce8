"""What two processes make of one: the ratio within each turn, not that of the middles."""

from benchmarks import two_cores


def test_ratios_are_those_of_turns() -> None:
    one, two, ratio = two_cores.rows("maze", [[10.0, 15.0], [20.0, 40.0], [30.0, 36.0]])
    assert (one["value"], one["low"], one["high"]) == (20, 10, 30)
    assert (two["value"], two["low"], two["high"]) == (36, 15, 40)
    assert (ratio["value"], ratio["low"], ratio["high"]) == (1.5, 1.2, 2.0)
    assert ratio["met"] is True
    assert one["target"] is None


def test_a_run_is_timed_and_judged() -> None:
    tiny = ("training.iterations=7", "training.tasks=4", "training.evaluate_every=0", "evaluation.tasks=4")
    more = ("evaluation.final_tasks=4", "evaluation.players=[]", "agent.network.hidden_size=4", "device=cpu")
    rate, judged, seconds = two_cores.trained("rl2-bandit", 1, (*tiny, *more))
    assert rate > 0
    assert 0 <= judged <= 10
    assert seconds > 0.5
