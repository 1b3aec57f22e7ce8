"""`random-rewards`: contexts from another source, a discriminator and a skill for each task."""

import numpy as np
import pytest

from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family, build_source
from taskgen.source import TaskSource
from taskgen.streams import seed_sequence


def source(**settings: object) -> TaskSource:
    part = Part.model_validate({"name": "random-rewards", **settings})
    return build_source(part, build_family("point-navigation"), seed_sequence(0, "test"))


def test_contexts_are_those_of_the_inner_source() -> None:
    inner = {"name": "domain-randomization", "fixed": {"goal": [0.1, 0.2]}}
    assert {spec.context["goal"] for spec in source(contexts=inner).ask(20)} == {(0.1, 0.2)}


def test_every_task_has_a_network_of_its_own_by_default() -> None:
    rewards = [spec.reward.settings for spec in source().ask(200) if spec.reward is not None]
    assert len({settings["seed"] for settings in rewards}) == 200


def test_networks_can_be_few_and_skills_are_uniform() -> None:
    rewards = [spec.reward.settings for spec in source(networks=3, skills=4).ask(4000) if spec.reward is not None]
    assert len({settings["seed"] for settings in rewards}) == 3
    counts = np.bincount([settings["skill"] for settings in rewards], minlength=4)  # type: ignore[arg-type]
    assert ((counts - 1000) ** 2 / 1000).sum() < 16.3  # chi-squared, 3 degrees of freedom, 99.9%


def test_counted_networks_are_those_of_the_settings_not_of_the_stream() -> None:
    part = Part.model_validate({"name": "random-rewards", "networks": 1})
    family = build_family("point-navigation")
    seeds = {
        spec.reward.settings["seed"]
        for name in ("train", "held-out")
        for spec in build_source(part, family, seed_sequence(0, name)).ask(5)
        if spec.reward is not None
    }
    assert len(seeds) == 1


def test_features_beyond_the_observation_are_refused_before_any_task_is_made() -> None:
    with pytest.raises(UserError, match="allowed are 0 to 1"):
        source(features=[7])


def test_contexts_that_want_results_are_refused_since_none_reach_them() -> None:
    with pytest.raises(UserError, match="contexts = alp-gmm: it decides by results, and none reach it"):
        source(contexts="alp-gmm")
