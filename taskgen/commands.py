"""Verbs of the command line that make and inspect tasks: generate, import, show, validate, split."""

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import registry
from registry.errors import ConfigError, TaskError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from taskgen.family import TaskFamily
    from taskgen.source import TaskSource
    from taskgen.spec import TaskSpec

_CHUNK = 256  # tasks asked for at once
_BINS = 24
_CHOICES = 6  # values of a setting without numbers that are named
_LINE = 120  # characters of a knob's value that are shown
_PORTION = 4  # tasks, at least, that a mark of the course along a file stands for
_PARTS, _MOVED = 8, 5.0  # a knob changes along it where the means of 8 parts differ: chi-squared 5 deviations too large
_TaskFile = Annotated[Path, typer.Argument(help="Task file, JSON lines.", show_default=False)]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]


def generate(
    generator: Annotated[
        str, typer.Argument(help="Name of a generator or curriculum (`taskgen list generators`, `list curricula`).")
    ],
    family: Annotated[str, typer.Option("--family", "-f", help="Name of a task family (`taskgen list families`).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Task file to write.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings: `family.arms=5` of the family, `reward=NAME` and `reward.value=0.5` of the reward that its "
            "tasks pay, others of the generator (`vary.probabilities.high=0.5`) or of what it wraps "
            "(`source.name=random-mazes`).",
            show_default=False,
        ),
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many tasks.")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Root of all randomness.")] = 0,
    file: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            metavar="FILE",
            help="TOML file of settings, which KEY=VALUE change: the generator's, or an experiment with it as source.",
        ),
    ] = None,
    per_iteration: Annotated[
        int, typer.Option("--per-iteration", min=0, help="Tasks after which time goes on for a curriculum; 0: never.")
    ] = 0,
    force: _Force = False,
) -> None:
    """Generate tasks and write them as JSON lines, in the order in which an agent would meet them."""
    from registry.config import Part, apply_overrides, parse, read_toml
    from taskgen.borders import asked
    from taskgen.build import build_family, build_source, refuse_unpaid, with_files
    from taskgen.progress import track
    from taskgen.streams import seed_sequence
    from taskgen.taskset import write_tasks

    settings = apply_overrides({} if file is None else _own(read_toml(file), generator), overrides or ())
    structure = settings.pop("family", {})
    if not isinstance(structure, dict):
        raise ConfigError([f"family={structure}: name the family with --family {structure}"], "overrides")
    if "name" in settings:
        raise ConfigError([f"name={settings['name']}: the generator is the first argument"], str(file or "overrides"))
    named = settings.pop("reward", None)
    paid = cast(dict[str, Any], named if isinstance(named, dict) else {"name": named})
    reward = None if named is None else parse(Part, paid, "overrides", "reward.")
    structure = with_files(family, cast(dict[str, Any], structure), overrides or ())
    built = build_family(family, structure, reward=reward)
    part = parse(Part, {"name": generator, **settings}, "overrides")
    _refuse_misplaced(settings, built, generator)
    source = build_source(part, built, seed_sequence(seed, "tasks"))
    if reward is not None:
        refuse_unpaid(built, asked(build_source(part, built, seed_sequence(seed, "tasks")), 1)[0], generator)
    try:
        count = write_tasks(
            output, track(_asked(source, number, per_iteration, built), number, "tasks"), overwrite=force
        )
    except KeyboardInterrupt:
        typer.echo(f"Interrupted: {output} was not written; the same command begins anew", err=True)
        raise
    typer.echo(f"{output}: {count:,} tasks of {built.name}")
    if source.feedback:
        passed = f"after {(count - 1) // per_iteration} iterations without a result" if per_iteration else "at time 0"
        typer.echo(
            f"{generator} decides by results or time: the last of these tasks are what it gives {passed}", err=True
        )


def show(
    tasks: _TaskFile,
    first: Annotated[int, typer.Option("--first", min=0, help="How many tasks to print in full.")] = 3,
    render: Annotated[
        Path | None, typer.Option("--render", metavar="DIR", help="Draw the tasks, and a contact sheet of them, there.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many tasks to draw, from the first on.")] = 60,
    force: _Force = False,
) -> None:
    """Show the tasks of a file, how their knobs are distributed and how they change along the file.

    With --render, also what they look like.
    """
    from taskgen.build import family_of
    from taskgen.taskset import TaskSet

    found = TaskSet.read(tasks)
    if render is not None:
        _render(render, found[:limit], force)
    typer.echo(_summary(tasks, found))
    for name, specs in _by_family(found).items():
        typer.echo(f"\n{name}: {len(specs):,} tasks")
        family = family_of(specs[0])
        knobs = family.context_space.knobs
        width = max((len(knob) for knob in specs[0].context), default=0)
        for knob in specs[0].context:
            values = [number for spec in specs for number in _numbers(spec.context.get(knob))]
            unit = knobs[knob].unit if knob in knobs else ""
            shown = _distribution(values) if values else _choices([spec.context.get(knob) for spec in specs])
            typer.echo(f"  {knob:<{width}}  {shown} {unit}".rstrip())
            course = _course([list(_numbers(spec.context.get(knob))) for spec in specs])
            if course:
                typer.echo(f"  {'':<{width}}  {course}")
        paid = Counter("the family's own" if spec.reward is None else spec.reward.name for spec in specs)
        if set(paid) != {"the family's own"}:
            typer.echo(f"  rewards: {', '.join(f'{name} in {count:,}' for name, count in paid.items())}")
    for spec in found[:first]:
        picture = family_of(spec).render(spec)
        text = picture if isinstance(picture, str) else "\n".join(_knob_line(*knob) for knob in spec.context.items())
        typer.echo(f"\ntask {spec.id}, {spec.family}, seed {spec.seed}\n{text}")
        if spec.reward is not None:
            settings = ", ".join(f"{name} = {value}" for name, value in spec.reward.settings.items())
            typer.echo(f"reward: {spec.reward.name} with {settings}")


def validate(tasks: _TaskFile) -> None:
    """Check every line of a task file."""
    from taskgen.taskset import task_lines

    typer.echo(f"{_summary(tasks, (spec for _, spec in task_lines(tasks)))}; every line is valid")


def split(
    tasks: _TaskFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory for train.jsonl and held-out.jsonl.")],
    held_out: Annotated[float, typer.Option("--held-out", help="Fraction of the tasks to hold out.")] = 0.2,
    force: _Force = False,
) -> None:
    """Split a task file into training and held-out tasks, none of which is on both sides.

    The side of a task depends on its family, context and reward, and on its seed only where the dynamics are drawn from
    it: tasks that differ in their luck alone stay together, and more tasks move none of those that are there. Lines are
    kept as they are.
    """
    from taskgen.build import task_key
    from taskgen.taskset import hash_fraction, refuse_fraction, staged, task_lines

    refuse_fraction(held_out)
    train, held = output / "train.jsonl", output / "held-out.jsonl"
    counts, keys = [0, 0], array("Q")
    with staged(train, overwrite=force) as first, staged(held, overwrite=force) as second:
        for line, spec in task_lines(tasks):
            key = task_key(spec)
            side = hash_fraction(key) < held_out
            counts[side] += 1
            keys.append(int(key, 16))
            (second if side else first).write(line.strip() + b"\n")
        for name, count in zip(("train", "held-out"), counts, strict=True):
            if not count:
                raise TaskError(
                    f"{tasks}: no task falls on the {name} side, of {_different(keys):,} that differ in more than "
                    "their luck; split a larger file or take another fraction"
                )
    typer.echo(f"{train}: {counts[0]:,} tasks\n{held}: {counts[1]:,} tasks")


def import_tasks(
    table: Annotated[
        Path, typer.Argument(help="CSV file with a column for each knob, JSON list of objects, or file in --form.")
    ],
    family: Annotated[str, typer.Option("--family", "-f", help="Name of a task family (`taskgen list families`).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Task file to write.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings of the family: `family.arms=5`.", show_default=False),
    ] = None,
    form: Annotated[
        str, typer.Option("--form", help="Whose form the file has; of maze: jaxued, minimax, dcd.", show_default=False)
    ] = "",
    delimiter: Annotated[str, typer.Option("--delimiter", help="What stands between the values of a CSV file.")] = ",",
    force: _Force = False,
) -> None:
    """Write the tasks of a table that another program made as a task file.

    Columns, or keys, are knobs as `taskgen describe` lists them, `knob[0]` the numbers of an array, and `seed`; what is
    left out or empty has its default. With --form the file is one of a program whose tasks the family reads.
    """
    from registry.config import apply_overrides
    from taskgen.build import build_family, with_files
    from taskgen.tables import read_form, read_table
    from taskgen.taskset import write_tasks

    settings = apply_overrides({}, overrides or ())
    structure = settings.pop("family", {})
    if settings or not isinstance(structure, dict):
        raise ConfigError([f"{' '.join(overrides or ())}: expected family.KEY=VALUE"], "overrides")
    if len(delimiter) != 1:
        raise TaskError(f"--delimiter {delimiter!r}: expected one character")
    built = build_family(family, with_files(family, cast(dict[str, Any], structure), overrides or ()))
    tasks = read_form(table, built, form) if form else read_table(table, built, delimiter)
    count = write_tasks(output, tasks, overwrite=force)
    typer.echo(f"{output}: {count:,} tasks of {built.name}")


def _own(data: dict[str, Any], generator: str) -> dict[str, Any]:
    """The settings in a file: the generator's own, or those of an experiment that has it as `source`."""
    parts = {key: _part(data.get(key, {})) for key in ("source", "family")}
    if str(parts["source"].pop("name", "")).rpartition("/")[2] != generator.rpartition("/")[2]:
        return data
    parts["family"].pop("name", None)
    structure = {"family": parts["family"]} if parts["family"] else {}
    return {**parts["source"], **structure, **{key: data[key] for key in ("reward",) if key in data}}


def _refuse_misplaced(settings: Mapping[str, Any], family: "TaskFamily[Any]", generator: str) -> None:
    """Raise `ConfigError` for settings that are the family's, where those of the generator stand."""
    from taskgen.build import SOURCES

    known = registry.catalogue().get(SOURCES, generator).config_class().model_fields
    theirs = dict(family.config)
    problems = [
        f"{key}: no setting of {generator}. Did you mean 'family.{key}', of the family?"
        for key in settings
        if key not in known and key in theirs
    ]
    if problems:
        raise ConfigError(problems, "overrides")


def _part(value: object) -> dict[str, Any]:
    """A part as a table, where its name alone stands for it."""
    return dict(cast(dict[str, Any], value)) if isinstance(value, dict) else {"name": value}


def _render(directory: Path, specs: "Sequence[TaskSpec]", force: bool) -> None:
    from taskgen.pictures import write_pictures

    if not specs:
        raise TaskError("there is no task to draw")
    sheet, *pictures = write_pictures(directory, specs, overwrite=force)
    typer.echo(f"{sheet}: contact sheet of {len(pictures)} tasks, with a picture of each beside it")


def _asked(source: "TaskSource", number: int, per_iteration: int, family: "TaskFamily[Any]") -> "Iterator[TaskSpec]":
    """`number` tasks of `family`; after every `per_iteration` of them the source is told that an iteration is over."""
    from taskgen.borders import asked, told

    while number > 0:
        specs = asked(source, min(number, per_iteration or _CHUNK), family)
        yield from specs
        number -= len(specs)
        if per_iteration:
            told(source, [])


def _by_family(specs: "Iterable[TaskSpec]") -> "dict[str, list[TaskSpec]]":
    families: dict[str, list[TaskSpec]] = {}
    for spec in specs:
        families.setdefault(spec.family, []).append(spec)
    return families


def _summary(path: Path, specs: "Iterable[TaskSpec]") -> str:
    ids, counts = array("Q"), Counter[str]()
    for spec in specs:
        ids.append(int(spec.id, 16))
        counts[spec.family] += 1
    repeats = len(ids) - _different(ids)
    families = ", ".join(f"{count:,} of {name}" for name, count in counts.items())
    repeated = f"; {repeats:,} repeat an earlier one" if repeats else ""
    return f"{path}: {len(ids):,} tasks ({families or 'none'}){repeated}"


def _different(ids: "array[int]") -> int:
    """How many of `ids` differ: they take 8 bytes each, a set of texts takes 150."""
    import numpy as np

    return len(np.unique(np.frombuffer(ids, dtype=np.uint64))) if ids else 0


def _knob_line(name: str, value: object) -> str:
    from taskgen.space import readable

    return _cut(f"{name} = {readable(value)}")


def _cut(line: str) -> str:
    return line if len(line) <= _LINE else f"{line[: _LINE - 4]} ..."


def _numbers(value: object) -> Iterator[float]:
    """All numbers of a context value, or of a list; a table or a truth has none that would lie on one axis."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield float(value)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in cast(Sequence[object], value):
            yield from _numbers(item)


def _distribution(values: Sequence[float]) -> str:
    """Lowest, mean and highest value, and a histogram over that range as one line of marks."""
    import numpy as np

    numbers = np.asarray(values)
    low, high = numbers.min(), numbers.max()
    if low == high:
        return f"always {low:g}"
    counts, _ = np.histogram(numbers, bins=_BINS)
    return f"{low:<10.4g} |{_chart(counts / counts.max())}| {high:<10.4g} mean {numbers.mean():.4g}"


def _choices(values: Sequence[object]) -> str:
    """How often each value of a setting occurs that is no number, the commonest first."""
    from taskgen.space import readable

    counts = Counter(map(readable, values))
    if len(counts) == 1:
        return _cut(f"always {readable(values[0]) or 'empty'}")
    shown = [f"{value or 'empty'} in {count:,}" for value, count in counts.most_common(_CHOICES)]
    return ", ".join([*shown, *([f"{len(counts) - _CHOICES} others"] if len(counts) > _CHOICES else [])])


def _course(values: Sequence[Sequence[float]]) -> str:
    """How a knob goes along the file: means of portions of it as one line of marks; nothing where it stays."""
    import numpy as np

    means = np.array([np.mean(row) if row else np.nan for row in values])
    if len(means) < _PARTS * _PORTION or not np.isfinite(means).all() or np.ptp(means) == 0.0:
        return ""
    parts = np.array_split(means, _PARTS)
    deviations = [(part.mean() - means.mean()) / means.std() * np.sqrt(len(part)) for part in parts]
    freedom = _PARTS - 1
    if np.square(deviations).sum() < freedom + _MOVED * np.sqrt(2 * freedom):
        return ""
    course = np.array([part.mean() for part in np.array_split(means, min(_BINS, len(means) // _PORTION))])
    low, high = course.min(), course.max()
    chart = _chart((course - low) / (high - low), floor=1)
    return f"along the file |{chart}| mean from {course[0]:.4g} to {course[-1]:.4g}"


def _chart(heights: "NDArray[np.float64]", floor: int = 0) -> str:
    """Marks for `heights` from 0 to 1, of which the lowest is the mark `floor`."""
    import numpy as np

    marks = (" ▁▂▃▄▅▆▇█" if "utf" in (sys.stdout.encoding or "").lower() else " .:-=+*#@")[floor:]
    return "".join(marks[height] for height in np.ceil(heights * (len(marks) - 1)).astype(int))
