"""Every family of the catalogue can be designed, or says why not."""

import pytest
import torch

import registry
from registry.errors import ConfigError, TaskError
from taskgen.build import build_family
from taskgen.engines.design import DesignConfig, DesignFamily, figures_of
from taskgen.engines.testing import sample_actions
from taskgen.testing import check_batch

FAMILIES = [item.full_name for item in registry.catalogue().items("families")]


@pytest.mark.parametrize("name", FAMILIES)
def test_designs(name: str) -> None:
    family = build_family(name)
    try:
        designs = DesignFamily(DesignConfig(), family)
    except ConfigError as problem:
        assert all(knob.vary is None for knob in family.context_space.knobs.values()), problem
        return
    specs = [designs.spec(seed=seed) for seed in range(4)]
    check_batch(designs, specs)
    batch = designs.batch(4)
    batch.set_tasks(specs)
    batch.reset()
    for action in sample_actions(designs, designs.horizon, 4):
        outcome = batch.step(action)
    assert torch.equal(outcome.terminated, torch.ones(4, dtype=torch.bool))
    contexts = designs.contexts(batch)
    assert len({str(context) for context in contexts}) > 1, "other placements made the same task"
    for context in contexts:
        assert all(isinstance(value, float | int) for value in figures_of(family, context).values())
        try:
            spec = family.spec(context)
        except TaskError as problem:
            assert type(family).validate is not type(designs).validate, problem  # within bounds, yet impossible
        else:
            family.check(spec)
