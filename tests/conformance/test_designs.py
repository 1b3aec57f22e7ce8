"""Every family of the catalogue can be designed, or says why not."""

import contextlib

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
    if all(knob.vary is None for knob in family.context_space.knobs.values()):
        with pytest.raises(ConfigError, match="varies none by itself"):
            DesignFamily(DesignConfig(), family)
        return
    designs = DesignFamily(DesignConfig(), family)
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
        if type(family).validate is type(designs).validate:
            family.check(family.spec(context))
        else:  # a design may be within bounds and yet impossible
            with contextlib.suppress(TaskError):
                family.check(family.spec(context))
        family.context_space.complete(context)
