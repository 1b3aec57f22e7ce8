"""Shared by the tests of curricula: built on cart-poles, told what a made-up student returns."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.family import TaskFamily
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec
from taskgen.streams import seed_sequence


@pytest.fixture
def family() -> TaskFamily[Any]:
    """Cart-poles, whose force, pole mass and half length vary."""
    return build_family("cartpole")


@pytest.fixture
def make(family: TaskFamily[Any]) -> Callable[..., Any]:
    """A source by name and settings, always from the same seed."""

    def build(name: str, over: TaskFamily[Any] = family, **settings: Any) -> Any:
        part = Part.model_validate({"name": name, **settings})
        return build_source(part, over, seed_sequence(0, "test"))

    return build


@pytest.fixture
def history(make: Callable[..., Any]) -> Callable[..., list[str]]:
    """Ids of the tasks of several iterations of 8, asked `chunk` at once; resumed from a checkpoint where `resumed`."""

    def play(
        student: Callable[[TaskSpec], Sequence[float]],
        name: str,
        chunk: int,
        iterations: int,
        resumed: bool,
        **settings: Any,
    ) -> list[str]:
        source, ids = make(name, **settings), list[str]()
        for _ in range(iterations):
            if resumed:
                state = source.state_dict()
                source = make(name, **settings)
                source.load_state_dict(state)
            specs = [spec for _ in range(8 // chunk) for spec in source.ask(chunk)]
            ids += [spec.id for spec in specs]
            source.tell([TaskResult(spec, tuple(student(spec))) for spec in specs])
        return ids

    return play
