"""The `taskgen` command: finds plugins, gathers their verbs, and turns errors into messages.

The verbs here are about the catalogue itself; all others are entries of the kind "commands".
Longer than most files here: the turning of every error into a message is in one place.
"""

import dataclasses
import importlib.metadata
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import tomli_w
import typer

from registry import doctor
from registry.catalogue import Catalogue, Item, catalogue
from registry.config import apply_overrides
from registry.discovery import BUILTIN, DISTRIBUTION, FILES_VARIABLE, one_line, typed
from registry.entry import KINDS
from registry.errors import PluginError, UserError, suggest
from registry.fields import settings
from registry.garbage import look_seldom

_HELP = "Generate reinforcement-learning tasks and train meta-RL agents on them."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the console script `taskgen`. Returns the exit code."""
    warnings.filterwarnings("ignore", "the import name", RuntimeWarning)  # `_warn_of_broken` says it
    if arguments is None:
        look_seldom()
    rest, files, debug = _global_options(sys.argv[1:] if arguments is None else arguments)
    shown = warnings.showwarning
    warnings.showwarning = _show_warning
    try:
        named = announce_files(files)
        command = typer.main.get_command(_application(rest, named))
        command.main(args=rest, prog_name="taskgen")
    except KeyboardInterrupt:
        return 130
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except (UserError, OSError) as error:
        if debug:
            raise
        typer.secho("error: ", fg="red", bold=True, err=True, nl=False)
        typer.echo(str(error), err=True)
        return error.exit_code if isinstance(error, UserError) else 1
    finally:
        warnings.showwarning = shown
    return 0


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    """A warning as a person reads it: of what was asked for alone the sentence, of code its place too."""
    place = "" if category is UserWarning else f"{filename}:{lineno}: {category.__name__}: "
    typer.echo(f"warning: {place}{message}", err=True)


def _global_options(arguments: Sequence[str]) -> tuple[list[str], list[str], bool]:
    """Take `--plugin FILE` and `--debug` out of the line, wherever they stand before a `--`."""
    rest: list[str] = []
    files: list[str] = []
    debug = False
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--plugin":
            files.append(next(words, ""))
        elif word.startswith("--plugin="):
            files.append(word.removeprefix("--plugin="))
        elif word == "--debug":
            debug = True
        else:
            rest.append(word)
    return rest, files, debug


def announce_files(files: Iterable[str]) -> list[str]:
    """Put plugin files into the environment, where this process and those it starts find them; their full paths."""
    known = [name for name in os.environ.get(FILES_VARIABLE, "").split(os.pathsep) if name]
    named: list[str] = []
    for file in files:
        path = Path(file).expanduser().resolve()
        if path.is_dir() and file:
            how = (
                f"name a file in it, or install it if it is a package (pip install -e {file}), which needs no --plugin"
            )
            raise UserError(f"--plugin {file!r}: a directory; {how}")
        if not path.is_file():
            raise UserError(f"--plugin {file!r}: no such file" if file else "--plugin needs the path of a Python file")
        if os.pathsep in str(path):
            raise UserError(f"--plugin {str(path)!r}: the path must not contain {os.pathsep!r}")
        named.append(str(path))
    if known or named:
        os.environ[FILES_VARIABLE] = os.pathsep.join(dict.fromkeys([*known, *named]))
    return named


def _application(arguments: Sequence[str], named: Sequence[str] = ()) -> typer.Typer:
    """The command with the verbs that `arguments` can reach; a verb that is not asked for is not imported.

    Raises `PluginError` where one of the plugin files that were `named` does not load.
    """
    own: dict[str, Callable[..., Any]] = {
        "list": list_entries,
        "describe": describe,
        "doctor": examine,
        "new-plugin": new_plugin,
    }
    terminal = sys.stdout.isatty()
    app = typer.Typer(
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if terminal else None,
        context_settings={"help_option_names": ["-h", "--help"], **({} if terminal else {"terminal_width": 120})},
    )
    app.callback()(_options)
    for name, function in own.items():
        app.command(name, short_help=(function.__doc__ or "").partition("\n")[0])(function)
    found = catalogue()
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if verb != "doctor":
        _warn_of_broken(found, () if verb == "list" and "--broken" in arguments else named)
    verbs = _contributed(found, own)
    if verb and verb not in (*own, *verbs):
        found.refuse_absent("commands", verb)
    for name, item in verbs.items():
        if verb not in own and (verb == name or verb not in verbs):
            _add_verb(app, name, item)
    return app


def _contributed(found: Catalogue, own: Iterable[str]) -> dict[str, Item]:
    """Contributed verbs by the name they go by: the short one, unless it is a built-in's."""
    items = sorted(found.items("commands"), key=lambda item: item.provider != BUILTIN)
    verbs: dict[str, Item] = {}
    for item in items:
        short = item.entry.name
        taken = short in own or short in verbs
        verbs[item.full_name if taken else short] = item
    return verbs


def _add_verb(app: typer.Typer, name: str, item: Item) -> None:
    """Add a contributed verb; one that cannot be imported is skipped with a warning."""
    try:
        function = item.load()
        probe = typer.Typer()
        probe.command(name)(function)
        typer.main.get_command(probe)
    except Exception as error:  # noqa: BLE001  whatever a plugin raises is that plugin's problem alone
        reason = str(error) if isinstance(error, UserError) else one_line(error)
        typer.echo(f"warning: no verb {name!r}: {reason}", err=True)
    else:
        app.command(name, short_help=item.entry.summary)(function)


def _warn_of_broken(found: Catalogue, named: Sequence[str]) -> None:
    """Say what did not load. Raises `PluginError` for a file that was `named` to be loaded."""
    for record in found.broken():
        if record.file in named:
            raise PluginError(f"--plugin {record.file} did not load: {record.error} (see `{typed('doctor')}`)")
        typer.echo(f"warning: plugin {record.key} did not load: {record.error} (see `taskgen doctor`)", err=True)
    for problem in doctor.strangers():
        typer.echo(f"warning: {problem}", err=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Load a one-file plugin; anywhere on the line."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
) -> None:
    """Holds the options of the whole command; `--plugin` and `--debug` were taken from the line before."""


def list_entries(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(KINDS)}.")] = None,
    broken: Annotated[
        bool, typer.Option("--broken", help="Only plugins and entries that do not load, and why.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what is in the catalogue."""
    found = catalogue()
    if broken:
        _list_broken(found, kind, as_json)
        return
    items = {name: found.items(name) for name in ([kind] if kind else KINDS)}
    if as_json:
        _print_json([_facts(item) for group in items.values() for item in group])
        return
    for name, group in items.items():
        lacking = found.absent(name)
        if group or lacking:
            typer.secho(name, bold=True)
            _table([(found.short_name(item), item.provider, item.entry.summary) for item in group])
            for item in lacking:
                typer.echo(f"  {item.entry.name} {item.lacks}")
        elif kind:
            typer.echo(f"There are no {kind} yet.{found.broken_note()}")


def describe(
    name: Annotated[str, typer.Argument(help="KIND/NAME, or NAME alone where one kind has it.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings of a family (`family.arms=5`), whose knobs are shown.",
            show_default=False,
        ),
    ] = None,
    cite: Annotated[bool, typer.Option("--cite", help="Print the citation alone.")] = False,
) -> None:
    """Describe one entry: what it is, where it comes from, its settings."""
    found = catalogue()
    item = _locate(found, name)
    structure = _structure(item, overrides or ())
    entry = item.entry
    if cite:
        if not entry.citation:
            raise UserError(f"{item.full_name} states no citation")
        typer.echo(entry.citation)
        return
    typer.secho(f"{item.full_name} ({item.kind})", bold=True)
    typer.echo(entry.summary)
    facts = {
        "citation": entry.citation,
        "tags": ", ".join(entry.tags),
        "needs": ", ".join(need.replace("|", " or ") for need in entry.needs),
        "offers": ", ".join(entry.offers),
        "provider": f"{item.provider} {item.version}".strip(),
        "target": entry.target,
        "file": item.plugin.file,
        **found.described(item),
    }
    _table([(f"{key}:", value) for key, value in facts.items() if value])
    if item.kind == "experiments":
        experiment: Mapping[str, Any] = item.load()
        typer.echo(f"\n{tomli_w.dumps(experiment)}", nl=False)
        return
    rows = [
        (setting.path, setting.type, setting.default, setting.allowed, setting.description)
        for setting in settings(item.config_class())
    ]
    if rows:
        typer.echo()
        _table(rows, ("setting", "type", "default", "allowed", "description"))
    if item.kind == "families":
        _describe_knobs(item, structure)


def _structure(item: Item, overrides: Sequence[str]) -> dict[str, Any]:
    """The settings of a family among `overrides`. Raises `UserError` for any that are none."""
    data = apply_overrides({}, overrides)
    structure = data.pop("family", {})
    if data or not isinstance(structure, dict) or (structure and item.kind != "families"):
        raise UserError(
            f"{' '.join(overrides)}: described are the settings of a family, said as family.KEY=VALUE, and "
            f"{item.full_name} is of {item.kind}"
        )
    read = getattr(item.config_class(), "from_files", None)
    return cast("dict[str, Any]", structure) if read is None else read(structure)


def _describe_knobs(item: Item, structure: Mapping[str, Any]) -> None:
    """What tasks of a family may vary, under its settings."""
    knobs = item.build(structure, name=item.full_name).explained()
    if not knobs:
        typer.echo("\nnothing varies from task to task but the seed")
        return
    typer.echo()
    _table(knobs, ("knob", "values", "range", "default", "unit", "varied", "meaning"))


def examine() -> None:
    """Examine the installation: versions, plugins, name clashes, entries that cannot be imported."""
    found = catalogue()
    typer.secho("versions", bold=True)
    _table(list(doctor.versions().items()))
    typer.secho("plugins", bold=True)
    _table(
        [(r.key, r.status, r.version, f"{r.import_seconds * 1000:.0f} ms", r.error or r.file) for r in found.plugins],
        ("plugin", "status", "version", "import", "file or error"),
    )
    problems = [*doctor.clashes(), *doctor.strangers()]
    problems += [f"plugin {record.key} did not load: {record.error}" for record in found.broken()]
    problems += [reason for _, reason in doctor.unloadable(item for kind in KINDS for item in found.items(kind))]
    if not any(record.provider == BUILTIN for record in found.plugins):
        problems.append(f"no built-in plugins: {DISTRIBUTION} is not installed; run `pip install {DISTRIBUTION}`")
    for record in found.broken():
        if record.traceback:
            typer.secho(f"traceback of {record.key}", bold=True)
            typer.echo(record.traceback)
    typer.secho("problems", bold=True)
    for problem in dict.fromkeys(problems):
        typer.echo(f"  - {problem}")
    if problems:
        raise typer.Exit(1)
    typer.echo("  none")


def new_plugin(
    name: Annotated[str, typer.Argument(help="Name of the distribution, such as my-tasks.")],
    kind: Annotated[
        str,
        typer.Option(
            help="What it holds: generator, family, reward, agent, player, network, curriculum, tracker, runner, "
            "experiment or command."
        ),
    ] = "generator",
    directory: Annotated[Path, typer.Option(help="Where its folder is made.")] = Path(),
) -> None:
    """Start a plugin of your own: an installable package with a working example of one kind, and tests."""
    from registry.scaffold import EXAMPLES
    from registry.scaffold import new_plugin as write

    root = write(name, directory, kind)
    typer.echo(f"wrote {root}")
    typer.echo(f"next: pip install -e {root}, then taskgen list {EXAMPLES[kind].entries}, then pytest {root}")


def _locate(found: Catalogue, name: str) -> Item:
    """The entry meant by KIND/NAME or NAME."""
    kind, slash, rest = name.partition("/")
    if slash and kind in KINDS:
        return found.get(kind, rest)
    matches = [item for each in KINDS for item in found.find(each, name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        choices = " or ".join(f"`{typed(f'describe {item.kind}/{item.full_name}')}`" for item in matches)
        raise UserError(f"{name!r} is the name of several entries: {choices}")
    if name in KINDS:
        raise UserError(f"{name!r} is a kind of entry: `{typed(f'list {name}')}` names those of it")
    found.refuse_absent("|".join(KINDS), name)
    names = {item.full_name if slash else item.entry.name for each in KINDS for item in found.known(each)}
    raise UserError(f"nothing in the catalogue is called {name!r}. {suggest(name, names)}{found.broken_note()}")


def _facts(item: Item) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "full_name": item.full_name,
        "provider": item.provider,
        "version": item.version,
        **dataclasses.asdict(item.entry),
    }


def _list_broken(found: Catalogue, kind: str | None, as_json: bool) -> None:
    plugins = [{"plugin": record.key, "status": record.status, "error": record.error} for record in found.broken()]
    entries = [
        {"kind": item.kind, "entry": item.full_name, "error": reason}
        for item, reason in doctor.unloadable(
            item for each in ([kind] if kind else KINDS) for item in found.items(each)
        )
    ]
    if as_json:
        _print_json({"plugins": plugins, "entries": entries})
        return
    for row in plugins:
        typer.echo(f"plugin {row['plugin']} ({row['status']}): {row['error']}")
    for row in entries:
        typer.echo(f"entry {row['error']}")
    if not plugins and not entries:
        typer.echo("Nothing is broken.")


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str] = ()) -> None:
    """Columns: wrapped on a terminal, one whole line per row when piped."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*headers, box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(headers))
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    lines = [*([headers] if headers else []), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo(f"  {'  '.join(cells)}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
