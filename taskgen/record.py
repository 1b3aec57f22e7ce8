"""`Record`: a task and where it came from, as curricula and runners tell it and as archives keep it."""

from collections.abc import Mapping
from dataclasses import dataclass

from taskgen.spec import TaskSpec


@dataclass(frozen=True, slots=True)
class Record:
    """A task and where it came from."""

    spec: TaskSpec
    generator: str
    """Full name of the source that made the task."""
    version: str
    """Version of the plugin that provides the source."""
    parents: tuple[str, ...]
    """Ids of the tasks it was made from."""
    generation: int
    """Steps of descent from a task without parents."""
    split: str | None
    """Name of the split that the task belongs to, such as "train"; None: of none."""
    scores: Mapping[str, float]
    """The latest value of every score."""
