"""A run as one file to send round: `taskgen pack` and `taskgen unpack`.

A pack is a zip of the files of a run directory, its newest checkpoint alone, and `pack.json`: format, version, and the
size and SHA-256 of every file. It holds no code and no pickle. Whoever gave it, nothing of it is written before all of
it was looked at: names are those that run directories have, sizes are within a budget, and every file is what pack.json
says.
"""

import hashlib
import io
import json
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.reports.report import write_report
from agents.training import checkpoint
from agents.training.run import RunDirectory
from registry.config import stated
from registry.discovery import typed
from registry.errors import CheckpointError, UserError
from taskgen import seals
from taskgen.files import read_regular, write_atomically, write_durably

FORMAT, VERSION = "taskgen-pack", 1
MANIFEST = "pack.json"
VARIABLE, BUDGET = "TASKGEN_PACK_BYTES", 4 * 2**30
"""Bytes that all files of a pack may have together, unless the environment variable says otherwise."""
MEMBERS = 10_000
"""Files that a pack may have."""
_MANIFEST_LIMIT = 16 * 2**20
_NEEDED = ("config.toml", "provenance.json", "metrics.jsonl", "report.html")
_JUDGED = ("evaluations.jsonl", "evaluation.json", "evaluation.safetensors")
_OTHERS = ("archive.sqlite", "archive.sqlite-wal", "highlights.jsonl")
"""Of an archive whose writer was killed its log too, which holds what the file lacks."""
_NAME = re.compile(
    "|".join(re.escape(name) for name in (*_NEEDED, *_JUDGED, *_OTHERS))
    + r"|checkpoints/\d{1,12}/(?:manifest\.json|state\.json|tensors\.safetensors)"
    + r"|artefacts/[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}"
)
"""What a file of a pack may be called."""


def pack(run: Path, output: Path) -> tuple[int, list[str]]:
    """Write the run at `run` to the file `output`, replacing it; returns the number of its files, and what is left out.

    Left out is what the directory holds beside the files of a run, such as those of trackers.

    Its report is written anew first. Raises `UserError` for a run that is not trained and judged, or where `output`
    cannot be written; `CheckpointError` for damage.
    """
    directory = RunDirectory(run)
    plan = directory.open()
    newest = checkpoint.latest(directory.checkpoints)
    if newest is None:
        raise UserError(f"{run} has no intact checkpoint to pack: train it first (`taskgen train ... --resume`)")
    if not (run / "evaluation.json").exists() and plan.config.runner is None:
        raise UserError(f"{run} is not judged yet: `{typed(f'evaluate {run}')}`, then pack it")
    write_report([run], run / "report.html")
    files = [run / name for name in (*_NEEDED, *_JUDGED, *_OTHERS) if name in _NEEDED or _holds(run / name)]
    files += sorted(newest.iterdir())
    files += sorted(each for each in (run / "artefacts").glob("*") if each.is_file())
    try:
        content = {path.relative_to(run).as_posix(): read_regular(path) for path in files}
        write_atomically(output, _zipped(plan.config.name, content))
    except OSError as error:
        raise UserError(f"{run} could not be packed into {output} ({error})") from None
    beside = {path.relative_to(run).parts[0] for path in run.iterdir()} - {"lock", "checkpoints", "artefacts"}
    return len(content), sorted(beside - content.keys() - {"archive.sqlite-shm", *_OTHERS})


def _holds(path: Path) -> bool:
    """Whether the file is there and not empty."""
    return path.is_file() and path.stat().st_size > 0


def _zipped(name: str, content: Mapping[str, bytes]) -> bytes:
    """The same bytes for the same content."""
    facts = {path: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for path, data in content.items()}
    manifest = json.dumps(seals.sealed({"format": FORMAT, "version": VERSION, "name": name, "files": facts}), indent=1)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for path, data in {MANIFEST: manifest.encode(), **content}.items():
            member = zipfile.ZipInfo(path)  # of 1980
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            file.writestr(member, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpack(file: Path, run: Path) -> int:
    """Make the run directory `run` of the pack `file`; returns the number of its files.

    Nothing is written where it raises: `UserError` where a run is there already or the disk refuses, `CheckpointError`
    for what is no pack, is damaged, or has files that none should have.
    """
    RunDirectory(run).refuse_taken(resumable=False)
    content = read(file)
    staging = run.with_name(f".{run.name}.{os.getpid()}.staging")
    try:
        for path, data in content.items():
            (staging / path).parent.mkdir(parents=True, exist_ok=True)
            write_durably(staging / path, data)
        if run.exists():
            run.rmdir()  # it is empty
        staging.rename(run)
    except OSError as error:
        raise UserError(f"{run} cannot hold the run ({error.strerror}): choose another place, or make room") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return len(content)


def read(file: Path) -> dict[str, bytes]:
    """The files of the pack `file` by their places in the run directory, checked.

    Raises `CheckpointError`, naming the member, for whatever is not as it should be.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(read_regular(file))) as archive:
            members = _members(file, archive)
            facts = _facts(file, _read(file, archive, members[MANIFEST], _MANIFEST_LIMIT))
            for name in sorted(members.keys() ^ {MANIFEST, *facts}):
                raise _refused(file, name, "it is missing" if name in facts else f"{MANIFEST} does not name it")
            return {name: _checked(file, archive, members[name], fact) for name, fact in facts.items()}
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or error})") from None
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{file} is no pack, or damaged: {error}. Nothing was written; get it again") from None


def _members(file: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """By name, what the zip says that it holds, looked at before anything is read."""
    found: dict[str, zipfile.ZipInfo] = {}
    budget = stated(VARIABLE, BUDGET)
    if len(archive.infolist()) > MEMBERS:
        raise CheckpointError(f"{file} is refused: it has {len(archive.infolist()):,} files, more than {MEMBERS:,}")
    for member in archive.infolist():
        name = member.orig_filename
        kind = stat.S_IFMT(member.external_attr >> 16)
        if name != MANIFEST and not _NAME.fullmatch(name):
            raise _refused(file, name, "no run has a file of that name")
        if name in found:
            raise _refused(file, name, "it is there twice")
        if kind not in (0, stat.S_IFREG) or member.flag_bits & 1:
            raise _refused(file, name, "it is no plain file")
        found[name] = member
    if MANIFEST not in found:
        raise CheckpointError(f"{file} is no pack: it has no {MANIFEST}. `taskgen pack` makes one")
    if (whole := sum(member.file_size for member in found.values())) > budget:
        raise CheckpointError(
            f"{file} is refused: its files have {whole:,} bytes, more than {budget:,}. Raise {VARIABLE} if you trust it"
        )
    return found


def _facts(file: Path, text: bytes) -> dict[str, Any]:
    """What pack.json says of every file."""
    try:
        manifest = seals.loaded(text)
        ours, version, facts = manifest["format"] == FORMAT, manifest["version"], dict(manifest["files"])
        sound = all(isinstance(fact["size"], int) and isinstance(fact["sha256"], str) for fact in facts.values())
    except (ValueError, KeyError, TypeError) as error:
        raise _refused(file, MANIFEST, f"it is damaged ({error!r})") from None
    if not ours or not sound or seals.KEY not in manifest:
        raise _refused(file, MANIFEST, "it is not one of ours, or lacks a hash")
    if version != VERSION:
        raise CheckpointError(f"{file} is a pack of version {version!r}; this taskgen reads version {VERSION}")
    return facts


def _checked(file: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, fact: Mapping[str, Any]) -> bytes:
    data = _read(file, archive, member, fact["size"])
    if len(data) != fact["size"] or hashlib.sha256(data).hexdigest() != fact["sha256"]:
        raise _refused(file, member.orig_filename, f"it is not the file that {MANIFEST} was written with")
    return data


def _read(file: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """The content of a member, of which no more than `most` bytes are unpacked."""
    if member.file_size > most:
        raise _refused(file, member.orig_filename, f"it has {member.file_size:,} bytes, more than {most:,}")
    try:
        with archive.open(member) as content:
            return content.read(most + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise _refused(file, member.orig_filename, f"it is damaged ({error})") from None


def _refused(file: Path, member: str, reason: str) -> CheckpointError:
    return CheckpointError(f"{file} is refused: {member[:200]!r}: {reason}. Nothing was written")
