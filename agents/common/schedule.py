"""What changes linearly from the first update to the last."""

USUAL_END = 6e-5
"""Learning rate at the end where none is set: small enough to settle, large enough to go on."""


def share_left(done: int, planned: int) -> float:
    """The share of `planned` updates that is left after `done` of them, 1 to 0; 1 where no end is planned (0)."""
    return max(0.0, 1.0 - done / planned) if planned else 1.0


def annealed(first: float, final: float, left: float) -> float:
    """From `first`, where all is left (1), to `final`, where nothing is (0), in a straight line."""
    return final + (first - final) * left


def final_rate(first: float, final: float | None) -> float:
    """The learning rate at the end: `final`; where none is set the usual one, but not more than `first`."""
    return min(first, USUAL_END) if final is None else final


def changing(learning_rate: float, final: float | None, entropy: float) -> frozenset[str]:
    """Which of an actor-critic's settings change on the way to the end of training: `Anneals.annealed_settings`."""
    changes = {"learning_rate": learning_rate != final_rate(learning_rate, final), "entropy": entropy > 0.0}
    return frozenset(name for name, does in changes.items() if does)
