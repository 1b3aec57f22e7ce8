"""`taskgen check`: the conformance kits on somebody's plugin, everything in a process of its own with limits.

What hangs, dies, or takes more memory than it is given is told of like anything else that is wrong: nothing of the
plugin runs in this process.
"""

import importlib
import resource
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import registry
from registry.catalogue import Item
from registry.config import Part
from registry.discovery import environments
from registry.errors import UserError
from registry.nameable import companies
from registry.testing import check_plugin
from taskgen.borders import place_of
from taskgen.build import build_family, build_source
from taskgen.engines.gym_env import Beat, silent
from taskgen.engines.gym_testing import checked
from taskgen.engines.gym_workers import LostError, Worker
from taskgen.spec import RewardSpec

ENVIRONMENT = "environment"
_FIRST = ("bandit", "point-navigation", "grid-navigation", "cartpole")
"""Families that parts are tried on, where they fit; else the first that does."""
_SEEN = ("point-navigation", "grid-navigation", "cartpole", "bandit")
"""For rewards, of what is seen: those first in which that differs from row to row."""


@dataclass(frozen=True)
class Verdict:
    """Of an entry, or of an environment."""

    kind: str
    name: str
    problems: tuple[str, ...]
    played: bool = True
    """False: of this kind only entry and settings are checked."""


def check(plugin: str, *, deadline: float, memory: float) -> Iterator[Verdict]:
    """Check `plugin`, a Python file that was given with --plugin or the module of a package, part by part.

    A call of an environment, and any other kit as a whole, may take `deadline` seconds, and a process `memory` GB.
    """
    found, lost = _apart(deadline, memory, "listing", plugin)
    if lost:
        yield Verdict("plugin", plugin, lost)
        return
    parts, problems = found
    yield Verdict("plugin", plugin, tuple(problems))
    for kind, name in parts:
        if kind == ENVIRONMENT:
            yield Verdict(kind, name, tuple(checked(name, {}, deadline)))
            continue
        told, lost = _apart(deadline, memory, "kit", kind, name)
        yield Verdict(kind, name, lost or tuple(told or ()), played=bool(lost) or told is not None)


def _apart(deadline: float, memory: float, function: str, *arguments: Any) -> tuple[Any, tuple[str, ...]]:
    """What `function` of this module gives in a process of its own; what became of it where that was lost."""
    worker = Worker(deadline)
    try:
        return worker.ask(f"{__name__}:{function}", memory, *arguments), ()
    except (LostError, UserError) as error:
        return None, (str(error),)
    finally:
        worker.end()


def listing(memory: float, plugin: str, beat: Beat = silent) -> tuple[list[tuple[str, str]], list[str]]:
    """The parts of a plugin, (kind, full name), and what is wrong with it as a whole."""
    beat(-1)
    _limit(memory)
    file = Path(plugin)
    here = registry.catalogue()
    module: Any = None
    if file.suffix == ".py":
        record = next((one for one in here.plugins if one.file == str(file.resolve())), None)
        if record is None or record.module is None:
            return [], [f"it does not load: {record.error if record else 'no such file'}"]
        module = record.module
    else:
        module = importlib.import_module(plugin)
    name = module.__name__
    items = [item for kind in registry.KINDS for item in here.items(kind) if item.plugin.module is module]
    problems: list[str] = []
    if items:
        try:
            check_plugin(file if file.suffix == ".py" else module)
        except AssertionError as error:
            problems = str(error).splitlines()
    classes = [(ENVIRONMENT, f"{name}:{path}") for path in (*environments(module), *companies(module))]
    return [*((item.kind, item.full_name) for item in items), *classes], problems


def kit(memory: float, kind: str, name: str, beat: Beat = silent) -> list[str] | None:
    """What is wrong with an entry; None for a kind that no kit plays with."""
    beat(-1)
    _limit(memory)
    item = registry.catalogue().get(kind, name)
    play = _KITS.get(kind)
    if play is None:
        return None
    try:
        play(item)
    except (AssertionError, UserError) as error:
        return [*str(error).splitlines(), *getattr(error, "__notes__", [])]
    except Exception as error:  # noqa: BLE001 - it is the plugin's
        package = item.entry.target.partition(":")[0].partition(".")[0]
        told = f"it raised {type(error).__name__}: {error}{place_of(error, package, error.__traceback__)}"
        told = ", ".join([told, *getattr(error, "__notes__", [])])
        if kind in ("rewards", "generators", "curricula"):
            told += f", tried on {_family(item)}: if that is not what it is for, say so by the `needs` of its entry"
        return [told]
    return []


def _limit(memory: float) -> None:
    """What is asked for beyond `memory` GB is refused, as a MemoryError."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory * 1e9), resource.getrlimit(resource.RLIMIT_DATA)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _family(item: Item) -> str:
    """A family that the part fits. Raises `UserError` where there is none."""
    catalogue = registry.catalogue()
    known = catalogue.items("families")
    own = [one for one in known if one.plugin is item.plugin]
    first = [catalogue.get("families", name) for name in (_SEEN if item.kind == "rewards" else _FIRST)]
    for family in (*own, *first, *known):
        if not catalogue.incompatibilities([item, family]):
            return family.full_name
    raise UserError(f"{item.full_name} needs {', '.join(item.entry.needs)}, which no family offers")


def _play_family(item: Item) -> None:
    from taskgen.testing import check_family

    check_family(build_family(item.full_name))


def _play_source(item: Item) -> None:
    from taskgen.testing import check_source

    family = build_family(_family(item))
    check_source(lambda: build_source(item.full_name, family, 0), family)


def _play_reward(item: Item) -> None:
    from taskgen.engines.testing import check_batch

    family = build_family(_family(item), reward=Part(name=item.full_name))
    reward = cast(RewardSpec, family.reward)
    check_batch(family, [family.spec(seed=seed, reward=reward) for seed in (1, 2, 3)])


def _play_agent(item: Item) -> None:
    from agents.testing import check_agent, check_spaces

    check_agent(item.full_name, family=_family(item))
    check_spaces(item.full_name)


def _play_network(item: Item) -> None:
    from agents.testing import check_agent

    check_agent("rl2", {"network": {"name": item.full_name}}, family=_family(item))


def _play_experiment(item: Item) -> None:
    from agents.training.experiment import load_experiment

    load_experiment(item.full_name)


def _play_tracker(item: Item) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tracker = item.build(directory=Path(directory))
        tracker.log(1, {"charts/steps": 1.0, "losses/policy_loss": float("nan")})
        tracker.close()


_KITS = {
    "families": _play_family,
    "generators": _play_source,
    "curricula": _play_source,
    "rewards": _play_reward,
    "agents": _play_agent,
    "networks": _play_network,
    "experiments": _play_experiment,
    "trackers": _play_tracker,
}


def summary(verdicts: Sequence[Verdict]) -> str:
    """What came out, in a line."""
    bad = [verdict for verdict in verdicts if verdict.problems]
    return f"{len(verdicts) - len(bad)} of {len(verdicts)} parts are as they should be"
