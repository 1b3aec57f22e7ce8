"""`taskgen new-plugin`: an installable plugin of any kind, working and tested, from templates in the wheel."""

import importlib.metadata
import importlib.resources
import importlib.util
import keyword
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from registry.discovery import BUILTIN, DISTRIBUTION
from registry.entry import API_LEVEL, KINDS
from registry.errors import UserError, suggest

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_SUFFIX = ".tmpl"


@dataclass(frozen=True, slots=True)
class Example:
    """The plugin that is written for one kind: `templates/kinds/<kind>.py.tmpl` and its tests."""

    entries: str
    """Kind of catalogue entry."""
    entry: str
    target: str
    summary: str
    try_it: str
    """A command line that uses it; $name is the plugin."""
    needs: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    has_settings: bool = True

    def words(self, package: str, kind: str) -> dict[str, str]:
        """What the templates have filled in."""
        facts = {"config": f"{package}.{kind}:{self.target}Config"} if self.has_settings else {}
        extra: dict[str, str | tuple[str, ...]] = {**facts, "needs": self.needs, "offers": self.offers}
        lines = [f"            {key}={_literal(value)},\n" for key, value in extra.items() if value]
        return {
            "kinds": self.entries,
            "entry": self.entry,
            "target": self.target,
            "summary": self.summary,
            "about": self.summary[0].lower() + self.summary[1:],
            "module": kind,
            "hook": KINDS[self.entries],
            "extra": "".join(lines),
        }


_DISCRETE = ("discrete-actions",)
EXAMPLES = {
    "generator": Example(
        *("generators", "middle", "Middle", "Tasks from the middle part of every knob's range."),
        "taskgen generate middle --family bandit -n 100 --seed 0 -o tasks.jsonl width=0.5",
    ),
    "family": Example(
        *("families", "coin", "Coin", "Coins that are biased, whose falls are to be guessed."),
        "taskgen generate domain-randomization --family coin -n 100 -o coins.jsonl",
        offers=_DISCRETE,
    ),
    "reward": Example(
        *("rewards", "near", "Near", "Pays for staying near a value."),
        "taskgen generate domain-randomization --family point-navigation -n 9 -o near.jsonl reward=near reward.value=1",
    ),
    "agent": Example(
        *("agents", "reactive", "Reactive", "Learns by REINFORCE to react to the last step."),
        "taskgen train rl2-bandit agent=reactive training.iterations=100 --run runs/reactive",
        needs=_DISCRETE,
    ),
    "player": Example(
        *("agents", "win-stay", "WinStay", "Repeats what won, else takes the next."),
        "taskgen train rl2-bandit 'evaluation.players=[\"win-stay\"]' training.iterations=100 --run runs/shift",
        needs=_DISCRETE,
    ),
    "network": Example(
        *("networks", "averages", "Averages", "Averages of what was seen, which forget at rates that are learned."),
        "taskgen train rl2-bandit 'agent.network={name=\"averages\"}' training.iterations=100 --run runs/averages",
    ),
    "curriculum": Example(
        *("curricula", "until-mastered", "UntilMastered", "Learns from a task until it is mastered."),
        "taskgen train rl2-bandit source=until-mastered training.iterations=100 --run runs/mastered",
    ),
    "tracker": Example(
        *("trackers", "csv", "Csv", "Writes metrics as a CSV file."),
        'taskgen train rl2-bandit \'trackers=["jsonl", "csv"]\' training.iterations=100 --run runs/table',
    ),
    "runner": Example(
        *("runners", "best-of", "BestOf", "Trains several agents and has the best one judged."),
        "taskgen train rl2-bandit runner=best-of training.iterations=100 --run runs/best",
    ),
    "experiment": Example(
        *("experiments", "quick-bandit", "QUICK_BANDIT", "RL^2 on small bandits."),
        "taskgen train quick-bandit --run runs/quick",
        has_settings=False,
    ),
    "command": Example(
        *("commands", "above", "above", "Count the tasks of a file whose knob is above a value."),
        "taskgen above tasks.jsonl --knob probabilities --value 0.5",
        has_settings=False,
    ),
}
"""What `--kind` may say -> the example of that kind."""


def new_plugin(name: str, directory: Path, kind: str = "generator") -> Path:
    """Write the plugin `name` into a new folder of that name in `directory` and return its path.

    It holds a working example of `kind` (`EXAMPLES`) and its tests. Raises `UserError` for a name that cannot be a
    Python package or is taken, for a folder that exists and for an unknown kind. The folder appears complete or not at
    all.
    """
    if kind not in EXAMPLES:
        raise UserError(f"--kind {kind}: no such kind of plugin. {suggest(kind, EXAMPLES)}")
    name = name.replace("_", "-")
    package = name.replace("-", "_")
    _check_name(name, package)
    root = directory.expanduser().resolve() / name
    if root.exists() or root.is_symlink():
        raise UserError(f"{root} exists already; nothing was changed. Choose another name or --directory")
    if not root.parent.is_dir():
        raise UserError(f"--directory {str(directory)!r}: no such folder")
    words = {
        "name": name,
        "package": package,
        "distribution": DISTRIBUTION,
        "host_version": importlib.metadata.version(DISTRIBUTION),
        "api_level": str(API_LEVEL),
        "try_it": EXAMPLES[kind].try_it,
        **EXAMPLES[kind].words(package, kind),
    }
    templates = importlib.resources.files("registry") / "templates"
    staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root.parent))
    try:
        _render(templates / "plugin", staging, words)
        for template, path in {
            f"{kind}.py": staging / "src" / package / f"{kind}.py",
            f"{kind}_test.py": staging / "tests" / f"test_{package}.py",
        }.items():
            path.parent.mkdir(exist_ok=True)
            text = (templates / "kinds" / f"{template}{_SUFFIX}").read_text(encoding="utf-8")
            path.write_text(Template(text).substitute(words), encoding="utf-8")
        staging.chmod(0o755)
        staging.rename(root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return root


def _literal(value: str | tuple[str, ...]) -> str:
    """As a formatter writes it: text in double quotes."""
    if isinstance(value, tuple):
        return "(" + "".join(f'"{word}",' for word in value) + ")"
    return f'"{value}"'


def _check_name(name: str, package: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(package):
        raise UserError(
            f"{name!r} cannot name a plugin: use lower-case letters and digits in words joined by hyphens, "
            "beginning with a letter, such as my-tasks"
        )
    if package in sys.stdlib_module_names or name == BUILTIN:
        raise UserError(f"{name!r} is the name of a part of Python or of taskgen; choose another, such as my-{name}")
    if importlib.util.find_spec(package) is not None:
        raise UserError(f"a package {package!r} is installed already; choose another name, such as my-{name}")


def _render(source: Traversable, target: Path, words: dict[str, str]) -> None:
    """Copy a template folder: `$words` in the files are filled in, and PACKAGE in their names."""
    for entry in source.iterdir():
        path = target / entry.name.removesuffix(_SUFFIX).replace("PACKAGE", words["package"])
        if entry.is_dir():
            path.mkdir()
            _render(entry, path, words)
        elif entry.name.endswith(_SUFFIX):
            path.write_text(Template(entry.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
