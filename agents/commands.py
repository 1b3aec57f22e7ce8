"""The verbs that train and judge: `train`, `evaluate`, `report`, `compare`, `play`.

Heavy imports wait until a verb runs. Longer than most files here: half of it is what verbs say of their options.
"""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from agents.training.progress import Progress
from registry.discovery import typed
from registry.errors import TaskError, UserError, suggest
from registry.garbage import settle

if TYPE_CHECKING:
    from agents.training.experiment import Experiment, Parts
    from agents.training.run import RunDirectory
    from registry.plan import Plan


_Guest = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=FILE.py:FUNCTION",
        help="A policy that is not ours, which FUNCTION() returns, plays along; once or more.",
    ),
]


def train(
    experiment: Annotated[
        str, typer.Argument(help="A shipped experiment (`taskgen list experiments`) or a TOML file.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as agent.learning_rate=1e-3.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Root of every random stream.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = None,
    run: Annotated[
        Path | None, typer.Option("--run", "--run-directory", help="Run directory; by default runs/NAME-SEED.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run directory's newest checkpoint.")] = False,
    start: Annotated[
        Path | None, typer.Option("--from", help="Begin a new run with the agent that the run here has trained.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch; one is fastest for small networks.")] = 1,
) -> None:
    """Train an agent, evaluate it beside its reference players and write a report.

    Ctrl-C finishes the iteration, checkpoints and exits; the same command with --resume goes on identically. In the
    evaluation at the end Ctrl-C stops at once, and `taskgen evaluate` makes up for it.

    Started by `torchrun --nproc-per-node 2 -m registry.cli train ...`, two processes share the tasks, each with a card
    of its own where there are some; `--run` is spelt `--run-directory` there, because `torchrun` has one of its own.
    """
    import torch

    from agents.common import parallel
    from agents.training.experiment import load_experiment
    from agents.training.loop import train as train_run
    from agents.training.run import RunDirectory
    from agents.training.start import started
    from agents.training.trained import beginning_with

    settle()
    torch.set_num_threads(threads)
    given = list(overrides or [])
    given += [] if seed is None else [f"seed={seed}"]
    given += [] if device is None else [f"device={device}"]
    given += [] if start is None else beginning_with(start)
    plan = load_experiment(experiment, given)
    directory = RunDirectory(run or Path("runs") / f"{plan.config.name}-{plan.config.seed}")
    with parallel.joined() as first, Progress(quiet=not first) as progress:
        begins = resume and not directory.config.exists()
        plan, parts = started(plan, directory, resume=resume, reported=True)
        if begins:
            progress.say(f"there was no run in {directory.path} to go on with: one begins")
        if parts.agent is not None:
            _say_left_out(plan, parts, progress)
        finished = train_run(plan, directory, progress, parts)
    if not first:
        os._exit(0 if finished else 130)  # threads of gloo now and then abort an interpreter that tidies up at its end
    if not finished:
        typer.echo(f"Stopped; checkpoint saved. Go on with: {_resume_command(directory.path)}")
        raise typer.Exit(130)
    if parts.agent is not None:
        if progress.stop_requested():
            _stopped_evaluating(directory.path)
        typer.echo("Evaluating beside the reference players ...")
        _show_evaluation(directory, drawn=parts.held_out)
    _write_report([directory.path], directory.path / "report.html")


def _say_left_out(plan: "Plan[Experiment]", parts: "Parts", progress: "Progress") -> None:
    """Tell before the run which reference players its last evaluation will lack."""
    from agents.training.judge import reference_players

    episodes = plan.config.evaluation.episodes or parts.problem.episodes
    problem = replace(parts.problem, episodes=episodes)
    for player, reason in reference_players(plan.config, problem, parts.held_out.specs)[1].items():
        progress.say(f"{player} will be left out of the evaluation: {reason}")


def _evaluated(run: "RunDirectory", given: str = "", **settings: Any) -> dict[str, Any]:
    """The summary of an evaluation that shows its progress and that Ctrl-C stops; `given` is how it was asked for."""
    from agents.evaluation.watch import Stopped
    from agents.training.judge import evaluate_run

    try:
        with Progress(stopping="the evaluation") as progress:
            return evaluate_run(run, onlooker=progress, **settings)
    except Stopped:
        _stopped_evaluating(run.path, given)


def _show_evaluation(run: "RunDirectory", given: str = "", *, as_json: bool = False, **settings: Any) -> None:
    """Evaluate and print; also what the run could not keep, before that is said."""
    from agents.training.judge import NotKept

    refused: NotKept | None = None
    try:
        summary: Mapping[str, Any] = _evaluated(run, given, **settings)
    except NotKept as error:
        summary, refused = error.summary, error
    if as_json:
        typer.echo(json.dumps(summary, indent=1))
    else:
        _print_summary(summary)
    if refused is not None:
        raise refused


def _stopped_evaluating(run: Path, given: str = "") -> NoReturn:
    path = shlex.quote(str(run))
    page = "" if given else f" and {typed(f'report {path}')}"
    typer.echo(
        f"Stopped; the run is trained, and nothing of this evaluation was kept. Make up for it with: "
        f"{typed(f'evaluate {path}{given}')}{page}",
        err=True,
    )
    raise typer.Exit(130)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    tasks: Annotated[Path | None, typer.Option(help="Task file to use instead of the run's held-out tasks.")] = None,
    episodes: Annotated[
        int | None,
        typer.Option(min=1, help="Episodes per trial, even more than in training; else as configured."),
    ] = None,
    guest: _Guest = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch.")] = 1,
) -> None:
    """Evaluate a run's newest checkpoint: return per adaptation episode, beside the reference players.

    Without --tasks and --episodes the run keeps it, for its report. Ctrl-C stops at once and leaves what was kept.
    """
    import torch

    from agents.training.run import RunDirectory
    from taskgen.taskset import TaskSet

    torch.set_num_threads(threads)
    specs = None if tasks is None else TaskSet.read(tasks)
    if specs is not None and not specs:
        raise UserError(f"{tasks} holds no task to be judged on")
    given = "" if tasks is None else f" --tasks {shlex.quote(str(tasks))}"
    given += "" if episodes is None else f" --episodes {episodes}"
    given += "".join(f" --guest {shlex.quote(one)}" for one in guest or ())
    guests = _guests(guest or ())
    named = {} if tasks is None else {"tasks": specs, "tasks_from": str(tasks)}
    _show_evaluation(RunDirectory(run), given, as_json=as_json, episodes=episodes, guests=guests, **named)


def _guests(given: Sequence[str]) -> dict[str, Any]:
    """The policies that are named on the command line. Raises `UserError` for a file or function that there is not."""
    from registry.discovery import load_file

    guests: dict[str, Any] = {}
    for one in given:
        name, equals, place = one.partition("=")
        file, colon, function = place.rpartition(":")
        if not (name and equals and colon and file.endswith(".py")):
            raise UserError(f"--guest {one!r}: expected NAME=FILE.py:FUNCTION")
        module = load_file(Path(file).expanduser().resolve())
        make = getattr(module, function, None)
        if not callable(make):
            raise UserError(f"--guest {one!r}: {file} has no function {function!r}. {suggest(function, vars(module))}")
        guests[name] = make()
    return guests


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories; several seeds of one experiment share a curve.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file.")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML page about one or more runs."""
    _write_report(runs, output)


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Run directories of one family; several seeds of one experiment are one agent.")
    ],
    tasks: Annotated[
        list[Path] | None,
        typer.Option(help="Task file, once or more; else the first run's held-out and out-of-distribution tasks."),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Episodes per trial of everybody; by default as each run evaluates.")
    ] = None,
    players: Annotated[bool, typer.Option(help="Whether the first run's reference players take part.")] = True,
    guest: _Guest = None,
    curves: Annotated[
        list[Path] | None,
        typer.Option(help="File of kept learning curves to draw beside those of the runs, once or more."),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file.")] = Path("comparison.html"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON in place of a table.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch.")] = 1,
) -> None:
    """Compare the agents of several runs on the same tasks: return per adaptation episode and step of adaptation."""
    import torch

    from agents.evaluation.watch import Stopped
    from agents.reports import comparison_report
    from agents.reports.comparison import compare as compare_runs
    from taskgen.taskset import TaskSet

    torch.set_num_threads(threads)
    if tasks and len({file.stem for file in tasks}) < len(tasks):
        raise UserError(f"--tasks: {', '.join(map(str, tasks))}: sets go by their files' names, which must differ")
    sets = None if not tasks else {file.stem: TaskSet.read(file) for file in tasks}
    guests = _guests(guest or ())
    try:
        with Progress(stopping="the comparison") as progress:
            found = compare_runs(
                runs,
                tasks=sets,
                episodes=episodes,
                with_players=players,
                guests=guests,
                curves=curves or (),
                say=progress.say,
                onlooker=progress,
            )
    except Stopped:
        typer.echo("Stopped; nothing was written.", err=True)
        raise typer.Exit(130) from None
    comparison_report.write_comparison({found.family: found}, output)
    if as_json:
        typer.echo(json.dumps(found.summary(), indent=1))
        return
    for line in comparison_report.table(found):
        typer.echo(line)
    typer.echo(f"Report: {output}")


def play(
    tasks: Annotated[Path, typer.Argument(help="Task file, JSON lines.")],
    agent: Annotated[
        str, typer.Option("--agent", help="An agent (`taskgen list agents`), or a run directory: its trained agent.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .gif, or a .txt for a transcript.")],
    index: Annotated[int, typer.Option(min=0, help="Which task of the file, counted from 0.")] = 0,
    episodes: Annotated[int | None, typer.Option(min=1, help="Episodes; by default 1, or as the run trained.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of a catalogue agent's own luck.")] = 0,
    every: Annotated[int, typer.Option(min=1, help="Draw every so many steps only.")] = 1,
    fps: Annotated[float, typer.Option(min=0.1, max=50.0, help="Frames per second.")] = 8.0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Play one trial of a task and write a film of it, or a transcript."""
    from agents.reports.film import check_output, film, introduced, write
    from taskgen.taskset import TaskSet

    specs = TaskSet.read(tasks)
    if index >= len(specs):
        raise UserError(f"--index {index}: {tasks} holds {len(specs)} tasks, counted from 0")
    drawn = check_output(output, specs[index])
    watched = film(specs[index], agent, episodes=episodes, seed=seed, every=every if drawn else 0)
    player = introduced(agent)
    what = write(watched, output, player=player, frames_per_second=fps, overwrite=force)
    typer.echo(f"{output}: task {specs[index].id[:8]} played by {player}, {what}")


def record(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory of the data set, which this makes.")],
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many trials.")] = 100,
    tasks: Annotated[
        Path | None, typer.Option(help="Task file, whose first tasks are played; else held-out ones of the run.")
    ] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="Episodes per trial; by default as in training.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch.")] = 1,
) -> None:
    """Record trials of a run's agent as a Minari data set: learning histories for offline methods.

    Every episode says its trial, its number in that and the id of its task.
    """
    import torch

    from agents.reports.recording import record as record_trials
    from agents.training.experiment import held_out_source
    from agents.training.run import RunDirectory
    from agents.training.trained import load_trained
    from taskgen.borders import asked
    from taskgen.family import same_structure
    from taskgen.taskset import TaskSet

    torch.set_num_threads(threads)
    trained = load_trained(RunDirectory(run))
    parts, experiment = trained.parts, trained.experiment
    source = held_out_source(experiment, parts.family)
    specs = TaskSet.read(tasks)[:number] if tasks else asked(source, number, parts.family)
    same_structure(specs, parts.family, str(tasks))
    if len(specs) < number:
        raise TaskError(f"{tasks} holds {len(specs)} tasks, fewer than {number}")
    name = experiment.agent.name.rpartition("/")[2]
    count, steps = record_trials(
        parts.player, parts.family, specs, episodes or parts.problem.episodes, output, name=name
    )
    typer.echo(f"{output}: {number:,} trials, {count:,} episodes, {steps:,} steps of {name}")


def export(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Write the trained policy of a run as one ONNX file: memory in, memory out.

    It gives what actions are drawn from, not the draw; its metadata say what every input and output means. Agents that
    are no fixed function are refused by name.
    """
    from agents.reports.exporting import export as export_policy
    from agents.training.run import RunDirectory

    told = export_policy(RunDirectory(run), output, overwrite=force)
    names = {kind: ", ".join(one["name"] for one in told[kind]) for kind in ("inputs", "outputs")}
    typer.echo(f"{output}: {told['agent']} after {told['steps']:,} steps, from {names['inputs']} to {names['outputs']}")


def check(
    plugin: Annotated[str, typer.Argument(help="A Python file, or the module of a package's plugin.")],
    deadline: Annotated[
        float, typer.Option(min=0.1, help="Seconds for one call of an environment, and for any other kit as a whole.")
    ] = 120.0,
    memory: Annotated[float, typer.Option(min=0.5, help="Gigabytes that a process may take.")] = 8.0,
) -> None:
    """Check a plugin by the conformance kits, part by part, in processes of their own with limits.

    Its entries, and the Gymnasium environments that it defines. What hangs or dies is told of like anything else.
    """
    from agents.checking import check as checking
    from agents.checking import summary
    from registry.cli import announce_files

    if plugin.endswith(".py"):
        announce_files([plugin])
    verdicts = []
    for verdict in checking(plugin, deadline=deadline, memory=memory):
        verdicts.append(verdict)
        mark = "bad" if verdict.problems else "ok " if verdict.played else "ok*"
        typer.echo(f"{mark} {verdict.kind:<12} {verdict.name}")
        for problem in verdict.problems:
            typer.echo(f"      {problem}")
    if not all(verdict.played for verdict in verdicts):
        typer.echo("* entry and settings alone: no kit plays with parts of this kind")
    typer.echo(summary(verdicts))
    if any(verdict.problems for verdict in verdicts):
        raise typer.Exit(3)


def _write_report(runs: list[Path], output: Path) -> None:
    from agents.reports.report import write_report

    write_report(runs, output)
    typer.echo(f"Report: {output}")


def _print_summary(summary: Mapping[str, Any]) -> None:
    """Mean trial return with its interval and mean return of first and last episode, best player first.

    Of players that adapt between rounds of several episodes, a round's mean episode stands for it. The last column is
    the mean trial return on the tasks where a player earns least.
    """
    from agents.evaluation.luck import counted
    from agents.evaluation.play import SUCCESS
    from agents.training.held_out import SAME_TASKS

    for name, evaluated in summary["sets"].items():
        tasks = counted(evaluated["tasks"], evaluated["plays"])
        episodes = f"{summary['episodes']} episode{'s' * (summary['episodes'] != 1)} each"
        typer.echo(f"{name}: {tasks}, {episodes}; 95% intervals {evaluated['interval']}")
        if "trained_on" in evaluated:
            known = "as far as the sample in the run's archive tells"
            typer.echo(f"  of these {evaluated['trained_on']} were trained on, {known}: {SAME_TASKS}")
        players = sorted(evaluated["players"].items(), key=lambda pair: -pair[1]["trial"]["mean"])
        share = next((f"worst {figures['tail']['share']:.0%}" for _, figures in players if "tail" in figures), "")
        columns = f"{'first':>9} {'last episode':>13} {share:>12}".rstrip()
        tells = any("success" in figures for _, figures in players)
        columns += f" {'success':>8} {'at end':>8}" if tells else ""
        typer.echo(f"  {'player':<20} {'trial return':>12}  {'95% interval':<20} {columns}")
        for player, figures in players:
            trial, mean = figures["trial"], figures.get("rounds", figures["returns"])["mean"]
            interval = "" if trial["low"] is None else f"[{trial['low']:.3f}, {trial['high']:.3f}]"
            tail = f" {figures['tail']['mean']:>12.3f}" if "tail" in figures else ""
            ends = [figures["success"][kind]["mean"][-1] for kind in SUCCESS] if "success" in figures else []
            tail += "".join(f" {end:>8.1%}" for end in ends)
            faults = f"  {figures['faults']} episodes diverged" if "faults" in figures else ""
            typer.echo(
                f"  {player:<20} {trial['mean']:>12.3f}  {interval:<20} {mean[0]:>9.3f} {mean[-1]:>13.3f}{tail}{faults}"
            )
        if tells:
            typer.echo("  success: share of tasks done after any step of the last episode; at end: after its last step")
        if _all_equal([figures for _, figures in players]):
            typer.echo("  All earned the same everywhere: each is as good as can be, or no action changes the reward")
        for player, figures in players:
            if "exploitation" in figures:
                rest = figures["exploitation"]
                typer.echo(f"  {player}, without the episodes of exploration: {rest['mean']:.3f}")
        for player, figures in players:
            if "rounds" in figures:
                course = ", ".join(f"{value:.3f}" for value in figures["rounds"]["mean"])
                typer.echo(f"  {player}, mean episode after 0, 1, ... steps of adaptation: {course}")
    for player, reason in summary["left_out"].items():
        typer.echo(f"{player} is left out: {reason}")


def _all_equal(players: Sequence[Mapping[str, Any]]) -> bool:
    """Whether several players have the same mean return in every episode, and none of them any spread over tasks."""
    means = {tuple(figures["returns"]["mean"]) for figures in players}
    trials = [figures["trial"] for figures in players]  # of one task there are no ends
    return len(players) > 1 == len(means) and all(trial["low"] == trial["high"] is not None for trial in trials)


def _resume_command(directory: Path) -> str:
    """What to type to go on: the run's own configuration, the plugin files in use, and as many processes."""
    run = shlex.quote(str(directory))
    beside = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if beside == "1":
        return typed(f"train {run}/config.toml --run {run} --resume")
    program = f"torchrun --nproc-per-node {beside} -m registry.cli"
    return typed(f"train {run}/config.toml --run-directory {run} --resume").replace("taskgen", program, 1)
