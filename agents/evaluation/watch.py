"""Who watches an evaluation: is shown how far it has come, and may stop it between any two steps."""

from collections.abc import Callable
from typing import Any, cast

from taskgen.borders import inherit
from taskgen.interaction.agent import Action, Agent, Carry, Step


class Stopped(Exception):  # noqa: N818 (it is no error: somebody asked for it)
    """An evaluation was stopped before its end: nothing of it counts."""


class Watch:
    """Counts trials played, out of `trials` in all.

    `stop` is asked before every step whether to go on; `show` is told the share that has been played, from 0 to 1, and
    of what.
    """

    def __init__(
        self, stop: Callable[[], bool], show: Callable[[float, str], None] | None = None, *, trials: float = 1.0
    ) -> None:
        self.what = ""
        self._stop = stop
        self._show = show
        self._trials = trials
        self._done = 0.0

    def tick(self, trials: float) -> None:
        """So many more trials, or parts of one, are over. Raises `Stopped` where someone asked for it."""
        if self._stop():
            raise Stopped
        self._done += trials
        if self._show is not None:
            self._show(min(1.0, self._done / self._trials), self.what)

    def over(self, agent: Agent, trials: int, steps: int) -> Agent:
        """`agent`, whose every `act` ticks: `trials` of at most `steps` steps each lie ahead of it."""
        return inherit(cast(Agent, _Watched(agent, lambda: self.tick(trials / steps))), agent)


class _Watched:
    """An agent that says when it acts; all else is the agent's, its `__dict__` too: generators are found there."""

    __slots__ = ("__weakref__", "_agent", "_tick")

    def __init__(self, agent: Agent, tick: Callable[[], None]) -> None:
        self._agent = agent
        self._tick = tick

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        self._tick()
        return self._agent.act(carry, step)
