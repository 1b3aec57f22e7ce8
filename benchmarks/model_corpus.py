"""MuJoCo models as people have them: how many of those that ship in public wheels `mujoco-any` takes.

    mkdir wheels; pip download --no-deps --dest wheels dm-control gymnasium-robotics metaworld playground
    python -m benchmarks.model_corpus wheels        about three minutes; wheels are unpacked, not installed

Counted is every MJCF file in the wheels, and in the Gymnasium installed here, that MuJoCo compiles as it lies there and
that has a body and an actuator; files of equal content count once. A model is taken where `family.model=FILE` makes a
family whose first steps are finite. Writes two tables in docs/worlds.md, between their
marks: what the fields of models mean, and which models are taken.
"""

import argparse
import hashlib
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import mujoco
import torch

from benchmarks.harness import ROOT, Row, record, row
from plugins.families.model_fields import FIELDS
from plugins.families.mujoco_any import MujocoAny, MujocoAnyConfig
from registry.errors import TaskError
from taskgen.engines.lean import gymnasium_model
from taskgen.engines.mjcf_files import embed
from taskgen.engines.mujoco_process import quiet
from taskgen.files import write_atomically

# pyright: reportAttributeAccessIssue=false

PAGE = ROOT / "docs" / "worlds.md"
STEPS = 5
SOURCE = "115 models of these wheels, of which 16 of the 56 without meshes were taken at first"
TARGETS = {"without meshes": 50 / 56, "all": 85 / 115}


@dataclass(frozen=True)
class Model:
    """A file of the corpus and what became of it."""

    package: str
    name: str
    """Path inside the package, without what all have in common."""
    meshes: int
    knobs: tuple[str, ...] = ()
    """Those that live."""
    refusal: str = ""


def find(folder: Path) -> Iterator[tuple[str, Path]]:
    """The corpus below `folder`, a directory of one subdirectory a package: package and file."""
    seen: set[str] = set()
    for path in sorted(folder.glob("*/**/*.xml")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest not in seen and compiled(path) is not None:
            seen.add(digest)
            yield path.relative_to(folder).parts[0], path


def compiled(path: Path) -> "mujoco.MjModel | None":
    """The model in a file, if MuJoCo compiles it and it has a body and an actuator."""
    quiet()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = mujoco.MjModel.from_xml_path(str(path))
    except (ValueError, mujoco.FatalError):
        return None
    return model if model.nu and model.nbody > 1 else None


def try_out(package: str, path: Path, folder: Path) -> Model:
    """Make a family of the file `path` and play it a few steps; its meshes are stored in `folder`."""
    model = compiled(path)
    assert model is not None
    name = path.stem
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text, artefact = embed(path, folder)
            config = MujocoAnyConfig.model_validate({"model": text, "artefact": artefact})
            family = MujocoAny(config, name="builtin/mujoco-any")
            batch = family.batch(1)
            batch.set_tasks([family.spec()])
            batch.reset()
            for _ in range(STEPS):
                batch.step(torch.zeros(1, *(family.action_space.shape or ())))
    except TaskError as error:
        return Model(package, name, model.nmesh, refusal=str(error).removeprefix(f"{path}: ").partition("\n")[0])
    if batch.faults.count:
        reason = "" if batch.faults.last is None else batch.faults.last.reason
        said = f"diverges from its reference pose ({reason}): give it a keyframe and `start`"
        return Model(package, name, model.nmesh, refusal=said)
    return Model(package, name, model.nmesh, config.fields)


def table(models: Iterable[Model]) -> str:
    """Markdown: models of a package whose usual knobs live alike share a row; a refusal has its own."""
    groups: dict[tuple[str, str], list[str]] = {}
    for model in models:
        said = model.refusal or ", ".join(f"`{knob}`" for knob in model.knobs)
        groups.setdefault((model.package, f"refused: {said}" if model.refusal else said), []).append(model.name)
    lines = ["| package | models | usual knobs that live |", "|---|---|---|"]
    for (package, said), names in sorted(groups.items()):
        told = ", ".join(
            f"{name} ({names.count(name)})" if names.count(name) > 1 else name for name in sorted({*names})
        )
        lines.append(f"| {package} | {told} | {said} |")
    return "\n".join(lines)


def shares(models: Iterable[Model]) -> list[Row]:
    """Rows: which share is taken, without meshes, with, and in all."""
    models = list(models)
    parts: Mapping[str, list[Model]] = {
        "without meshes": [model for model in models if not model.meshes],
        "with meshes": [model for model in models if model.meshes],
        "all": models,
    }
    return [
        row(
            f"share of {len(part)} models ({name}) that mujoco-any takes",
            sum(not model.refusal for model in part) / len(part),
            target=f">= {TARGETS[name]:.3f}" if name in TARGETS else None,
            source=SOURCE,
        )
        for name, part in parts.items()
        if part
    ]


def unpack(wheels: Path, folder: Path) -> None:
    """Lay the contents of the wheels in `wheels`, and Gymnasium's models, into `folder`, a subdirectory a package."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "-".join(wheel.name.split("-")[:2]))
    version = metadata.version("gymnasium")
    shutil.copytree(gymnasium_model("ant.xml").parent, folder / f"gymnasium-{version}")


def meanings() -> str:
    """Markdown: what the knobs of each field do."""
    rows = [f"| `{f'{name}.*' if meaning.of else name}` | {meaning.sentence} |" for name, meaning in FIELDS.items()]
    return "\n".join(["| knob | what it does |", "|---|---|", *rows])


def put(text: str, mark: str, content: str) -> str:
    """`text` with `content` between the marks called `mark`. Raises `ValueError` where they are missing."""
    start, end = f"<!-- {mark}:start -->", f"<!-- {mark}:end -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{PAGE}: {start} and {end} say where a table goes, and are not there")
    return f"{before}{start}\n{content}\n{end}{after}"


def corpus(wheels: Path) -> list[Model]:
    """Every model of the wheels in `wheels` and of Gymnasium, tried out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "wheels"
        unpack(wheels, folder)
        return [try_out(package, path, Path(name)) for package, path in find(folder)]


def main() -> None:
    """Try all, record the shares, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path, nargs="?", help="folder of the downloaded wheels; none: fields alone")
    wheels = parser.parse_args().wheels
    page = put(PAGE.read_text(encoding="utf-8"), "fields", meanings())
    if wheels is not None:
        models = corpus(wheels)
        rows = shares(models)
        for entry in rows:
            print(f"{entry['what']}: {entry['value']:.3f}")
        record("model_corpus", rows, [0])
        page = put(page, "models", table(models))
    write_atomically(PAGE, page.encode())


if __name__ == "__main__":
    main()
