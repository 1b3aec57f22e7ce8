"""The hooks a plugin may implement. Hooks register; plain Python runs.

A plugin is a module (or one file given with `--plugin`) with functions marked `@registry.hookimpl`:

    from registry import Entry, hookimpl

    @hookimpl
    def register_task_generators():
        return [Entry("corners", "my_package.corners:Corners", "Only the corners of the context space.")]

Every `register_*` hook is called once, when the catalogue is built, and returns an iterable of `Entry`.
Observer hooks are called during a run; what they return is ignored, and one that raises is switched off with one
logged traceback. `validate_run` returns a list of problems and changes nothing; `describe_entry` adds to what is said
of an entry.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from registry.entry import Entry

PROJECT = "taskgen"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """Specifications of all hooks."""

    @hookspec
    def register_task_families(self) -> Iterable[Entry]:  # type: ignore[empty-body]
        """Task families: `Entry("bandit", "plugins.families.bandit:Bandit", "k Bernoulli arms", config="...:Config")`.

        The target is a `taskgen.TaskFamily`, built as `Target(config, name=full_name)`.
        """

    @hookspec
    def register_rewards(self) -> Iterable[Entry]:  # type: ignore[empty-body]
        """Rewards over controlled Markov processes: `Entry("goal-distance", "my.rewards:GoalDistance", "...")`.

        The target is a `taskgen.reward.RewardFunction`, built for a batch as `Target(configs, family=family,
        device=device)`, one config a slot, and called as `reward(observation, action, next_observation) -> [B]`.
        """

    @hookspec
    def register_task_generators(self) -> Iterable[Entry]:  # type: ignore[empty-body]
        """Task generators: `Entry("corners", "my.corners:Corners", "...")`.

        The target is a `taskgen.TaskSource`, built as `Target(config, family=family, seed=seed_sequence)`.
        """

    @hookspec
    def register_curricula(self) -> Iterable[Entry]:  # type: ignore[empty-body]
        """Curricula and filters: `Entry("staged", "my.staged:Staged", "...")`, sources around other sources.

        The target is a `taskgen.Curriculum`, built like a generator; the sources it wraps are settings of its own,
        marked with `json_schema_extra={"kind": taskgen.build.SOURCES}`. `taskgen.curriculum.Wrapper` is a base.
        """

    @hookspec
    def register_agents(self) -> Iterable[Entry]:  # type: ignore[empty-body]
        """Agents and reference players: `Entry("rl2", "agents.rl2:RL2", "...", config="agents.rl2:RL2Config")`.

        The target is a `taskgen.interaction.Agent`, built as `Target(config, problem)`.
        """

    @hookspec
    def register_networks(self) -> Iterable[Entry]:  # type: ignore[empty-body]
        """Recurrent networks: `Entry("gru", "agents.networks.gru:GRU", "...")`.

        The target is built as `Target(config, input_size=...)`, or where it remembers by cue as `Target(config,
        inputs=...)`: see `agents.networks.base.RecurrentNetwork`.
        """

    @hookspec
    def register_experiments(self) -> Iterable[Entry]:  # type: ignore[empty-body]
        """Shipped experiments: `Entry("rl2-bandit", "my.experiments:RL2_BANDIT", "...")`; the target is a mapping that
        reads like the experiment's TOML file."""

    @hookspec
    def register_runners(self) -> Iterable[Entry]:  # type: ignore[empty-body]
        """Outer loops of another shape (paired POET, evolved losses): `Entry("poet", "my.poet:Poet", "...")`.

        The target is a `taskgen.runner.Runner`, built as `Target(config, assignment=assignment)`.
        """

    @hookspec
    def register_trackers(self) -> Iterable[Entry]:  # type: ignore[empty-body]
        """Where metrics go: `Entry("tensorboard", "plugins.trackers.tensorboard:TensorBoard", "...")`.

        The target is a `taskgen.tracker.Tracker`, built as `Target(config, directory=run_directory)`: it has
        `log(step, metrics)` and `close()`, and may have `configured`, `evaluated` and `truncate_after`.
        """

    @hookspec
    def register_commands(self) -> Iterable[Entry]:  # type: ignore[empty-body]
        """Verbs of the command line: `Entry("play", "my.commands:play", "...")`; the target is a typer function."""

    @hookspec
    def describe_entry(self, kind: str, name: str) -> Mapping[str, str] | None:
        """What `taskgen describe` is to say besides of the entry called `name` in full: texts by heading, or nothing.

        Called when somebody asks, so that it may import and try out what is heavy.
        """

    @hookspec
    def run_started(self, plan: Mapping[str, Any], directory: Path) -> None:
        """A run begins in `directory`."""

    @hookspec
    def iteration_finished(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """One ask-collect-learn-tell round is over."""

    @hookspec
    def evaluation_finished(self, iteration: int, summary: Mapping[str, Any]) -> None:
        """An evaluation is over."""

    @hookspec
    def checkpoint_saved(self, iteration: int, path: Path) -> None:
        """A checkpoint is safely on disk."""

    @hookspec
    def run_finished(self, directory: Path) -> None:
        """The run is complete."""

    @hookspec
    def validate_run(self, plan: Mapping[str, Any]) -> Iterable[str] | None:
        """Problems of a plan, one sentence each, before anything is built. Changes nothing."""
