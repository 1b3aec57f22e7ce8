"""Benchmarks of meta-gradients and evolved losses: every run is one that can be trained; what is read of it by hand."""

import numpy as np
import pytest

from agents.training.experiment import build_parts, load_experiment
from benchmarks import epg, meta_gradients, what_is_meta_learned


@pytest.mark.parametrize("kind", epg.KINDS)
def test_runs_of_evolved_losses_can_be_trained(kind):
    parts = build_parts(load_experiment(epg.EXPERIMENT, [*epg.KINDS[kind], "seed=0"]).config)
    assert parts.runner is not None


@pytest.mark.parametrize("which", [meta_gradients.META, *meta_gradients.PAIRS])
def test_poles_differ_by_discount_and_trace_alone(which):
    config = load_experiment("meta-gradient-chain", meta_gradients.pole(100, which)).config
    ours, others = (
        build_parts(config).player.config,
        build_parts(
            load_experiment("meta-gradient-chain", meta_gradients.pole(100, meta_gradients.META)).config
        ).player.config,
    )
    changed = {name for name, value in ours.model_dump().items() if value != others.model_dump()[name]}
    assert changed <= {"discount", "trace", "learned"}
    if which != meta_gradients.META:
        assert (ours.discount, ours.trace) == meta_gradients.PAIRS[which]
        assert ours.learned == "none"


def test_there_are_nine_pairs():
    assert len(meta_gradients.PAIRS) == 9
    assert not set(meta_gradients.SEEDS) & set(meta_gradients.CHOOSING)


def test_the_last_round_by_hand():
    returns = np.arange(12.0).reshape(6, 2)
    assert epg.last_round(returns, 3).tolist() == [9.0, 10.0]
    assert epg.last_round(returns, 6).tolist() == [10.0, 11.0]


@pytest.mark.parametrize("name", what_is_meta_learned.TRAINED)
def test_agents_of_the_pictures_can_be_trained(name):
    experiment, changes = what_is_meta_learned.TRAINED[name]
    assert build_parts(load_experiment(experiment, [*changes, "seed=0"]).config).held_out.specs
    assert name in what_is_meta_learned.PICTURES
