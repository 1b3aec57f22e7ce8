"""`Shares`: whose turn it is, so that after any number of turns each has had its share as nearly as can be."""

from collections.abc import Mapping
from typing import Any, cast

from registry.errors import CheckpointError, suggest

_TOLERANCE = 1e-6


class Shares:
    """Smooth weighted round robin: everybody gains their weight at every turn, the first of the richest pays 1 for it.

    Weights may change between turns: what somebody is owed stays.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._owed = dict.fromkeys(names, 0.0)

    def turn(self, weights: Mapping[str, float]) -> str:
        """Who is next under `weights`, which sum to 1."""
        for name, weight in weights.items():
            self._owed[name] += weight
        winner = max((name for name in self._owed if weights.get(name, 0.0) > 0.0), key=self._owed.__getitem__)
        self._owed[winner] -= 1.0
        return winner

    def state_dict(self) -> dict[str, float]:
        """What each is owed."""
        return dict(self._owed)

    def load_state_dict(self, state: object) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` where it holds other names."""
        if not isinstance(state, dict) or set(cast("dict[str, Any]", state)) != set(self._owed):
            raise CheckpointError(f"state of a mix: expected what each of {sorted(self._owed)} is owed")
        self._owed = {name: float(cast("dict[str, Any]", state)[name]) for name in self._owed}


def weight_problems(weights: Mapping[str, float], sources: Mapping[str, Any], where: str) -> list[str]:
    """What is wrong with `weights` of `sources`, one sentence each."""
    problems = [f"{where}.{name}: no such source. {suggest(name, sources)}" for name in weights if name not in sources]
    problems += [f"{where}.{name} = {value:g}: expected 0 or more" for name, value in weights.items() if value < 0]
    total = sum(weights.values())
    if abs(total - 1.0) > _TOLERANCE:
        terms = " + ".join(f"{value:g} ({name})" for name, value in weights.items()) or "nothing"
        problems.append(f"{where} sum to {total:g}, expected 1: {terms}")
    return problems
