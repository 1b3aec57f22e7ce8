"""Checkpoints: staged, hashed directories that survive a killed process, a full disk and flipped bits. No pickle.

    checkpoints/000000120/tensors.safetensors   every tensor and array of the tree
                          state.json            the rest of the tree, see `agents.training.tree`
                          manifest.json         format, iteration, SHA-256 and size of each file, digest of itself

A checkpoint is written to a hidden directory beside its place, confirmed by the disk and renamed: it is there as a
whole or not at all. Equal trees give equal bytes. Nothing is parsed before its hash is verified.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from agents.training.tree import flatten, restore
from registry.errors import CheckpointError
from taskgen.files import sync_directory, write_durably

FORMAT = "taskgen-checkpoint"
VERSION = 1
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"

_STAGING, _REMOVED = ".staging", ".removed"
_MANIFEST_LIMIT = 1 << 16  # bytes; ours take about 400
_log = logging.getLogger(__name__)


def save(directory: Path, tree: Mapping[str, Any], *, iteration: int) -> Path:
    """Store `tree` as the checkpoint of `iteration` under `directory`, and return its path.

    The tree is nested dicts, lists and tuples of tensors, NumPy arrays and JSON values. A different
    checkpoint of the same iteration is replaced. One process writes to a directory at a time.

    Raises:
        CheckpointError: the tree holds something that cannot be stored, or the disk refused. Checkpoints written
            before are untouched.
    """
    path = directory / f"{iteration:09d}"
    try:
        files = _serialise(tree, iteration)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot store the state of iteration {iteration}: {error}") from error
    if _holds(path, files):  # nothing to do, and no moment in which it is missing
        return path
    staging = directory / _STAGING
    try:
        directory.mkdir(exist_ok=True)  # not its parents: a run that was deleted is not made anew by half
        _remove(staging)
        staging.mkdir()
        for name, data in files.items():
            write_durably(staging / name, data)
        sync_directory(staging)
        _discard(path)
        staging.rename(path)
        sync_directory(directory)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise CheckpointError(
            f"could not write checkpoint {path}: {error.strerror or error}. Checkpoints written before are untouched; "
            "make room or mend the disk, then go on with --resume."
        ) from error
    return path


def load(path: Path) -> dict[str, Any]:
    """The tree stored at `path`, its tensors on the CPU. Reads only.

    Raises:
        CheckpointError: the checkpoint is missing, damaged, not one of ours, or of a newer format.
    """
    files = _verify(path)
    try:
        tensors = safetensors.torch.load(files[TENSORS])
        return dict(restore(json.loads(files[STATE]), tensors))
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise _refusal(path, f"its content makes no sense although its hashes match ({error!r})") from error


def digest(path: Path) -> str:
    """What the manifest of the checkpoint at `path` calls it: a hash of all it holds. Raises `CheckpointError`."""
    _verify(path)
    return str(json.loads(_read(path, MANIFEST, _MANIFEST_LIMIT))["digest"])


def latest(directory: Path) -> Path | None:
    """The newest intact checkpoint under `directory`, or None. Damaged ones are skipped with a logged warning."""
    return next(_intact(directory), None)


def prune(directory: Path, keep: int) -> None:
    """Remove all checkpoints older than the newest `keep` intact ones. Raises `CheckpointError` if the disk refuses."""
    if keep < 1:
        raise ValueError(f"keep = {keep}: at least the newest checkpoint must stay")
    kept = [path for path, _ in zip(_intact(directory), range(keep), strict=False)]
    if len(kept) < keep:
        return
    try:
        for path in _checkpoints(directory):
            if path.name < kept[-1].name:
                _discard(path)
        _remove(directory / _REMOVED)
    except OSError as error:
        raise CheckpointError(f"could not remove old checkpoints under {directory}: {error.strerror}") from error


def _serialise(tree: Mapping[str, Any], iteration: int) -> dict[str, bytes]:
    state, tensors = flatten(tree)
    files = {TENSORS: safetensors.torch.save(tensors), STATE: _json(state)}
    content = {name: {"sha256": _sha256(data), "size": len(data)} for name, data in files.items()}
    manifest = {"files": content, "format": FORMAT, "iteration": iteration, "version": VERSION}
    return files | {MANIFEST: _json(_signed(manifest))}


def _holds(path: Path, files: Mapping[str, bytes]) -> bool:
    try:
        return _verify(path) == {name: files[name] for name in (TENSORS, STATE)}
    except CheckpointError:
        return False


def _signed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return rest | {"digest": _sha256(_json(rest))}


def _verify(path: Path) -> dict[str, bytes]:
    """The files of the checkpoint at `path`, each as its manifest says. Raises `CheckpointError`."""
    if not path.is_dir():
        raise _refusal(path, "there is no such directory")
    text = _read(path, MANIFEST, _MANIFEST_LIMIT)
    try:
        manifest = json.loads(text)
        ours = manifest["format"] == FORMAT
        version = manifest["version"]
        intact = _json(_signed(manifest)) == text  # all of it: a changed space is a change too
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _refusal(path, f"its {MANIFEST} is damaged or not one of ours") from None
    if not ours:
        raise _refusal(path, f"its format is {manifest['format']!r}, not {FORMAT!r}")
    if not intact:
        raise _refusal(path, f"its {MANIFEST} is damaged (the digest does not match)")
    if version != VERSION:
        raise CheckpointError(
            f"checkpoint {path} is of format version {version!r}; this taskgen reads version {VERSION}. "
            "Use the taskgen that wrote it (see provenance.json) or a newer one; nothing in it was changed."
        )
    return {name: _checked(path, name, manifest["files"]) for name in (TENSORS, STATE)}


def _checked(path: Path, name: str, content: Any) -> bytes:
    try:
        size, digest = content[name]["size"], content[name]["sha256"]
    except (KeyError, TypeError):
        raise _refusal(path, f"its {MANIFEST} does not list {name}") from None
    if not isinstance(size, int):
        raise _refusal(path, f"its {MANIFEST} gives {name} the size {size!r}")
    data = _read(path, name, size)
    if len(data) != size:
        raise _refusal(path, f"{name} is cut short: {len(data)} bytes instead of {size}")
    if _sha256(data) != digest:
        raise _refusal(path, f"{name} is damaged (its SHA-256 does not match)")
    return data


def _read(path: Path, name: str, limit: int) -> bytes:
    file = path / name
    if file.is_symlink() or not file.is_file():  # links could lead outside, a pipe would block for ever
        raise _refusal(path, f"it has no regular file {name}")
    try:
        if file.stat().st_size > limit:
            raise _refusal(path, f"{name} is longer than {limit} bytes")
        return file.read_bytes()
    except OSError as error:
        raise _refusal(path, f"{name} cannot be read: {error.strerror}") from error


def _refusal(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {path} was refused: {reason}. Nothing in it was changed. "
        "--resume takes the newest intact one of the run; otherwise restore it from a copy."
    )


def _intact(directory: Path) -> Iterator[Path]:
    for path in _checkpoints(directory):
        try:
            _verify(path)
        except CheckpointError as error:
            _log.warning("skipped: %s", error)
            continue
        yield path


def _checkpoints(directory: Path) -> list[Path]:
    """Newest first."""
    found = directory.iterdir() if directory.is_dir() else ()
    named = [path for path in found if len(path.name) == 9 and path.name.isascii() and path.name.isdigit()]
    return sorted(named, reverse=True)


def _discard(path: Path) -> None:
    """Take a checkpoint away as a whole, so that a kill in between leaves no half of it in sight."""
    if path.exists():
        removed = path.parent / _REMOVED
        _remove(removed)
        path.rename(removed)
        _remove(removed)


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
