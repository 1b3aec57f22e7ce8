"""How many small changes of the code its tests notice: `python -m benchmarks.mutants [--group G] [--seed S]`.

A change swaps an operator, moves a comparison by one, inverts a condition or drops a sign (operators of cosmic-ray,
extra `mutation`). Places are drawn first, evenly over a group's code, then the change. Each is made in a copy of the
tree, where the tests run that carry the file's name or name its module. Noticed is what makes one of them fail or hang;
a change that cannot be told from the original is named in EQUIVALENT with the reason and not counted. Resumable: what
was tried for a seed is not tried again. Outside of continuous integration: hours.

Reference: Jia and Harman 2011, An Analysis and Survey of the Development of Mutation Testing, section 2.
"""

import argparse
import ast
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from scipy.stats import binomtest

from benchmarks import harness
from benchmarks.harness import PROGRESS, ROOT
from registry.errors import UserError

GROUPS: dict[str, tuple[str, ...]] = {
    "all": ("registry/**/*.py", "taskgen/**/*.py", "plugins/**/*.py", "agents/**/*.py"),
    "mathematics": (
        *("agents/common/*.py", "agents/evaluation/statistics.py", "agents/evaluation/aggregates.py"),
        "taskgen/interaction/score.py",
    ),
    "updates": ("agents/*.py", "agents/networks/*.py"),
    "curricula and rewards": ("plugins/curricula/*.py", "plugins/rewards/*.py", "plugins/generators/*.py"),
}
"""Files by group."""
TARGETS = {"all": 0.92, "mathematics": 0.97, "updates": 0.97, "curricula and rewards": 0.97}
SKIPPED = ("__init__.py", "entries.py", "plugin.py", "commands.py", "experiments", "templates")
"""Files and folders that hold lists and words."""
SWAPS = {
    "Binary": {"Add": "Sub", "Sub": "Add", "Mul": "Div", "Div": "Mul", "FloorDiv": "Div", "Mod": "Mul", "Pow": "Mul"}
    | {"BitAnd": "BitOr", "BitOr": "BitAnd", "LShift": "RShift", "RShift": "LShift"},
    "Comparison": {"Lt": "LtE", "LtE": "Lt", "Gt": "GtE", "GtE": "Gt", "Eq": "NotEq", "NotEq": "Eq"}
    | {"Is": "IsNot", "IsNot": "Is"},
}
INVERSIONS = (
    *("AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *(f"ReplaceUnaryOperator_Delete_{sign}" for sign in ("USub", "Not", "Invert")),
)
_COMMON = "agents/common"
EQUIVALENT: dict[str, str] = {
    f"{_COMMON}/context.py: for row in descriptor[~self(descriptor).any(1)]:": "axis 1 is the last of [N, D]",
    f"{_COMMON}/context.py: if not self.full and not (self._known == row).all(1).any():": (
        "axis 1 is the last of [N, D]"
    ),
    f"{_COMMON}/distributions.py: if self.box is None and self.log_std is None:": "both are None or neither",
    f"{_COMMON}/fast_policy.py: if len(inputs) < group:": "a group of all tasks is computed alike",
    f"{_COMMON}/inner_loop.py: norm = gradient.detach().norm(dim=1, keepdim=True)": "axis 1 is the last of [B, P]",
    f"{_COMMON}/parallel.py: before = _playing.set(processes() >= 1)": "of rows drawn for one process its part is all",
    f"{_COMMON}/reward_scale.py: "
    "standard = torch.where(spread >= 0, (shifted - mean) / spread.clamp(min=1e-12), 0.0)": (
        "where nothing spreads the numerator is zero too"
    ),
    "agents/rl2.py: if not 0 < length <= len(inputs):": "one piece as long as the trial is the trial",
}
"""Changes that cannot be noticed, "path: changed line" -> why."""
PRELOADED = ("torch", "numpy", "gymnasium", "pettingzoo", "scipy.stats", "mujoco", "pydantic", "pytest", "hypothesis")
"""What nothing here changes is imported once, before a copy of the process runs tests."""


@dataclass(frozen=True)
class Mutant:
    """A change of one place."""

    path: str
    line: int
    changed: str
    """The line as changed."""
    operator: str
    occurrence: int

    @property
    def key(self) -> str:
        """What tells it from the others of a sample."""
        return f"{self.path}:{self.line}: {self.changed.strip()}"

    @property
    def name(self) -> str:
        """What EQUIVALENT names it by, wherever in its file it stands."""
        return f"{self.path}: {self.changed.strip()}"


def operators() -> dict[str, Any]:
    """The kinds of change by name."""
    try:
        provider = importlib.import_module("cosmic_ray.operators.provider").OperatorProvider()
    except ImportError:
        raise UserError("cosmic-ray is not installed: pip install -e '.[mutation]' -c constraints.txt") from None
    names = [f"Replace{kind}Operator_{a}_{b}" for kind, swaps in SWAPS.items() for a, b in swaps.items()]
    return {name: provider[name]() for name in [*names, *INVERSIONS]}


def mutants(path: Path, kinds: dict[str, Any]) -> Iterator[Mutant]:
    """Every change of the file at `path` that changes what it does, whatever it says of types and of how to call it."""
    change = importlib.import_module("cosmic_ray.mutating").mutate_code
    source = path.read_text()
    plain = _meaning(source)
    for name, operator in kinds.items():
        for occurrence in range(len(source)):
            mutated = change(source, operator, occurrence)
            if mutated is None:
                break
            if _meaning(mutated) in (plain, None):
                continue
            lines = zip(source.splitlines(), mutated.splitlines(), strict=False)
            number, text = next((i, new) for i, (old, new) in enumerate(lines, 1) if old != new)
            yield Mutant(str(path.relative_to(ROOT)), number, text, name, occurrence)


def _meaning(source: str) -> str | None:
    """`source` without annotations and the marks of arguments by name, whose `*` is no product; None: no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # the stars of `{**figures}` are no power either
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
            node.defaults = [*node.defaults, *filter(None, node.kw_defaults)]
            node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, ast.Constant(0))
    return ast.dump(tree)


def sample(group: str, count: int, seed: int) -> list[Mutant]:
    """`count` changes of the files of `group`, drawn by `seed`: places first, one change of each."""
    kinds = operators()
    places: dict[tuple[str, int], list[Mutant]] = {}
    for pattern in GROUPS[group]:
        for path in sorted(ROOT.glob(pattern)):
            if not any(part in SKIPPED for part in path.relative_to(ROOT).parts):
                for mutant in mutants(path, kinds):
                    places.setdefault((mutant.path, mutant.line), []).append(mutant)
    random = Random(f"{group} {seed}")
    chosen = random.sample(sorted(places), min(count, len(places)))
    return [random.choice(places[place]) for place in chosen]


def tests_of(path: str) -> list[str]:
    """Test files that carry the name of the file at `path`, and those that name its module, the former first."""
    stem = Path(path).stem
    module = path.removesuffix(".py").replace("/", ".")
    package, _, name = module.rpartition(".")
    words = [module, f"from {package} import {name}"]
    if path.startswith(("plugins/", "agents/networks/")) or path.count("/") == 1:
        words.append(f'"{name.replace("_", "-")}"')  # the entry's name
    named: list[Path] = []
    others: list[Path] = []
    for test in sorted((ROOT / "tests").rglob("test_*.py")):
        if test.stem == f"test_{stem}" or test.stem.startswith(f"test_{stem}_"):
            named.append(test)
        elif any(word in test.read_text() for word in words):
            others.append(test)
    return [str(test.relative_to(ROOT)) for test in [*named, *others]]


def noticed(mutant: Mutant, tree: Path, tests: Sequence[str], patience: float) -> bool:
    """Whether `tests` fail, or hang for `patience` seconds, in the copy at `tree` with the change made."""
    path = tree / mutant.path
    source = path.read_text()
    change = importlib.import_module("cosmic_ray.mutating").mutate_code
    path.write_text(change(source, operators()[mutant.operator], mutant.occurrence))
    try:
        return run_tests(tree, tests, patience) != 0
    finally:
        path.write_text(source)


def run_tests(tree: Path, tests: Sequence[str], patience: float) -> int:
    """Exit code of pytest on `tests` in `tree`, in a copy of this process; -1 after `patience` seconds."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(tree)
        os.environ["PYTHONPATH"] = str(tree)
        sys.path[:] = [str(tree), *[entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]]
        for name in [name for name in sys.modules if name.partition(".")[0] in ("benchmarks", *_PACKAGES)]:
            del sys.modules[name]
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        code = importlib.import_module("pytest").main(["-x", "-q", "-p", "no:cacheprovider", *tests])
        os._exit(int(code))
    end = time.monotonic() + patience
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


_PACKAGES = ("registry", "taskgen", "plugins", "agents", "tests")


def copied() -> Path:
    """A copy of the tree to make changes in."""
    tree = PROGRESS / f"mutants-{os.getpid()}"
    shutil.rmtree(tree, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    return tree


def examine(group: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Try the sample of `group`; what was tried before is read back."""
    log = PROGRESS / f"mutants-{group.replace(' ', '-')}-{seed}.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    known = {line["key"]: line for line in map(json.loads, log.read_text().splitlines())} if log.is_file() else {}
    for name in PRELOADED:
        importlib.import_module(name)
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    tree = copied()
    patience: dict[str, float] = {}
    for number, mutant in enumerate(sample(group, count, seed), 1):
        if mutant.key in known or mutant.name in EQUIVALENT:
            continue
        tests = tests_of(mutant.path)
        if tests and mutant.path not in patience:
            start = time.monotonic()
            code = run_tests(tree, tests, 1800)
            if code:
                raise UserError(f"the tests of {mutant.path} fail without a change (exit code {code}): {tests}")
            patience[mutant.path] = 20 + 4 * (time.monotonic() - start)
        caught = bool(tests) and noticed(mutant, tree, tests, patience[mutant.path])
        known[mutant.key] = asdict(mutant) | {
            "key": mutant.key,
            "name": mutant.name,
            "noticed": caught,
            "tests": len(tests),
        }
        with log.open("a") as file:
            file.write(json.dumps(known[mutant.key]) + "\n")
        print(f"{number:4} {'noticed ' if caught else 'SURVIVED'} {mutant.key}", flush=True)
    shutil.rmtree(tree)
    return [line for line in known.values() if line["name"] not in EQUIVALENT]


def main(arguments: Sequence[str] | None = None) -> None:
    """Try the samples of the groups asked for and record the shares noticed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--group", choices=list(GROUPS), action="append", help="left out: all of them")
    parser.add_argument("--sample", type=int, default=0, help="changes; left out: 300 of all, 150 of each other group")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    rows: list[harness.Row] = []
    for group in asked.group or GROUPS:
        tried = examine(group, asked.sample or (300 if group == "all" else 150), asked.seed)
        folders = {"": tried}
        for line in tried if group == "all" else []:
            folders.setdefault("/".join(line["path"].split("/")[:2]).removesuffix(".py"), []).append(line)
        for folder, lines in sorted(folders.items()):
            found = sum(line["noticed"] for line in lines)
            ends = binomtest(found, len(lines)).proportion_ci(method="wilson")
            what = f"share noticed of {len(lines)} changes, {group}{f': {folder}' if folder else ''}"
            goal = None if folder else f">= {TARGETS[group]}"
            rows.append(harness.row(what, found / len(lines), ends.low, ends.high, target=goal))
            print(f"{found / len(lines):6.1%} [{ends.low:.1%}, {ends.high:.1%}]  {what}")
        print("\n".join(f"survived: {line['key']}" for line in tried if not line["noticed"]))
    harness.record("mutants", rows, seeds=[asked.seed])


if __name__ == "__main__":
    main()
