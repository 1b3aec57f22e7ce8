"""`TaskBatch` and `Transition` by the path that plugins know them by; they are those of `taskgen.batch`."""

from taskgen.batch import TaskBatch, Transition

__all__ = ["TaskBatch", "Transition"]
