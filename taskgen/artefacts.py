"""Artefacts: tensors that tasks refer to by the SHA-256 of their file, such as a learned discriminator.

An artefact is `artefacts/<sha256>.safetensors` beside the task files, archives and runs whose tasks refer to it. It is
looked for there, in the working directory and in what the environment variable TASKGEN_ARTEFACTS names (directories
that hold such files, separated as in PATH). Where it is found never matters: its content is checked against its name.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from registry.errors import TaskError, brief
from taskgen.files import read_regular, write_atomically
from taskgen.spec import TaskSpec

VARIABLE = "TASKGEN_ARTEFACTS"
FOLDER = "artefacts"
SETTING = "artefact"
"""The setting of a reward or a family that holds the name of an artefact."""
_NAME = re.compile(r"[0-9a-f]{64}")
_METADATA = "artefact"
_LARGEST = 1 << 28  # bytes
_known: dict[Path, None] = {}  # directories where tasks were read; what is found cannot depend on them, see above


@dataclass(frozen=True)
class Artefact:
    """Tensors by name, and text that says what they are."""

    tensors: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, str]


def save(artefact: Artefact, directory: Path | None = None) -> str:
    """Write `artefact` below `directory` (by default the first of `places`) and return its name, the file's SHA-256."""
    tensors = {name: np.ascontiguousarray(value) for name, value in artefact.tensors.items()}
    # One entry, since the format keeps several in no fixed order, and equal artefacts have equal names.
    metadata = {_METADATA: json.dumps(dict(artefact.metadata), sort_keys=True)}
    data = safetensors.numpy.save(tensors, metadata)
    name = hashlib.sha256(data).hexdigest()
    folder = places()[0] if directory is None else directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if not (path := _path(folder, name)).exists():
        write_atomically(path, data)
    look_in([folder])
    return name


@lru_cache(maxsize=64)
def load(name: str) -> Artefact:
    """The artefact `name`. Raises `TaskError` where it is missing, altered or no set of tensors."""
    data = _read(name)
    try:
        tensors = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_METADATA])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise TaskError(f"artefact {name}: not a file of tensors as the platform writes them ({error})") from None
    return Artefact(tensors, metadata)


def find(**metadata: str) -> str | None:
    """The name of an intact artefact whose metadata hold `metadata`, or None."""
    for folder in places():
        for path in sorted(folder.glob("*.safetensors")):
            try:
                if metadata.items() <= load(path.stem).metadata.items():
                    return path.stem
            except TaskError:
                continue  # what is damaged is as good as not there
    return None


def places() -> list[Path]:
    """Where artefacts are looked for, in order."""
    named = [Path(text) for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    return [*named, Path(FOLDER), *_known]


def look_beside(path: Path) -> None:
    """Look for artefacts beside the file `path` too: tasks are read from it."""
    look_in([path.parent / FOLDER])


def look_in(folders: Iterable[Path]) -> None:
    """Look for artefacts in `folders` too."""
    _known.update(dict.fromkeys(folder.resolve() for folder in folders))


def bring(specs: Iterable[TaskSpec], directory: Path) -> list[str]:
    """Copy the artefacts that `specs` refer to below `directory`; returns their names."""
    names = sorted({name for spec in specs for name in all_referred(spec)})
    bring_names(names, directory)
    return names


def bring_names(names: Iterable[str], directory: Path) -> None:
    """Copy the artefacts `names` below `directory`."""
    folder = directory / FOLDER
    for name in names:
        if not (path := _path(folder, name)).exists():
            data = _read(name)
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)


def problems(spec: TaskSpec) -> list[str]:
    """What is wrong with the artefacts that a task refers to, a sentence each, or nothing."""
    found: list[str] = []
    for name in all_referred(spec):
        try:
            load(name)
        except TaskError as error:
            found.append(f"task {spec.id}: {error}")
    return found


def all_referred(spec: TaskSpec) -> list[str]:
    """The artefacts that a task refers to: its family's, such as the meshes of a model, and its reward's."""
    names = (spec.context.get(SETTING), referred(spec))
    return [name for name in names if isinstance(name, str) and name]


def referred(spec: TaskSpec) -> str | None:
    """The artefact that a task's reward refers to."""
    name = None if spec.reward is None else spec.reward.settings.get(SETTING)
    return name if isinstance(name, str) and name else None


def _read(name: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise TaskError(f"artefact {brief(name)}: expected the 64 hexadecimal digits of a SHA-256")
    for folder in places():
        path = _path(folder, name)
        try:
            if path.stat().st_size > _LARGEST:
                raise TaskError(f"{path}: larger than {_LARGEST:,} bytes, the most an artefact may have")
            data = read_regular(path)
        except OSError:
            continue
        if hashlib.sha256(data).hexdigest() != name:
            raise TaskError(f"{path}: altered, its content does not hash to its name; put a good copy in its place")
        return data
    looked = ", ".join(dict.fromkeys(str(folder) for folder in places()))
    raise TaskError(
        f"artefact {name} is missing; looked in {looked}. Copy {FOLDER}/{name}.safetensors from where the tasks were "
        f"made, or name its directory in {VARIABLE}."
    )


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"
