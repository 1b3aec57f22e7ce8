"""`Split`: which tasks of a family with few of them are for training, and which for testing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Side = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Split:
    """The two sides of a family whose tasks are the values of one integer knob.

    A family that has one sets `TaskFamily.split`. Sources that keep to a side say so (`taskgen.source.Sided`), and
    what they are edited into stays there (`taskgen.family.mutated`).
    """

    knob: str
    """The knob whose value is the task."""
    train: frozenset[int]
    test: frozenset[int]

    def side(self, context: Mapping[str, Any]) -> Side:
        """Where the task with the complete `context` is."""
        return "test" if context[self.knob] in self.test else "train"

    def values(self, side: Literal["train", "test", "all"]) -> tuple[int, ...]:
        """The knob's values on a side, ascending."""
        return tuple(sorted({"train": self.train, "test": self.test, "all": self.train | self.test}[side]))

    def __str__(self) -> str:
        return f"{len(self.train)} values of {self.knob} for training, {len(self.test)} for testing"


def common_side(sides: Iterable[Side | None]) -> Side | None:
    """The side that all of `sides` are; None where they are not all the same."""
    found = set(sides)
    return found.pop() if len(found) == 1 else None
