"""MJCF from anywhere: what a model may hold before MuJoCo gets to see it.

MuJoCo opens any path that a model names, compiles models that fill the memory, and steps for ever when told to. So
only elements that name no file and multiply nothing are allowed, numbers are finite and sizes have limits.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree as ET

import mujoco

from registry.errors import TaskError, brief
from taskgen.engines.mujoco_process import quiet

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

LONGEST = 1_000_000
"""Characters."""
_ELEMENTS, _DEPTH, _HIGHEST = 5000, 100, 1e8
_ALLOWED = frozenset(
    word
    for line in (
        "mujoco compiler option flag statistic visual global quality headlight map scale rgba",
        "default asset texture material worldbody body inertial joint freejoint geom site camera light frame",
        "contact pair exclude equality connect weld tendon fixed spatial actuator motor position velocity",
        "damper general sensor keyframe key custom numeric text touch accelerometer velocimeter gyro force",
        "torque magnetometer jointpos jointvel actuatorpos actuatorvel actuatorfrc framepos framequat",
        "framelinvel frameangvel framelinacc frameangacc subtreecom subtreelinvel subtreeangmom",
    )
    for word in line.split()
)
_RANGES = {
    "timestep": (1e-4, 0.1),
    "iterations": (1, 1000),
    "ls_iterations": (1, 1000),
    "noslip_iterations": (0, 1000),
    "ccd_iterations": (1, 1000),
    "width": (1, 2048),
    "height": (1, 2048),
    "size": (-1e4, 1e4),
    "actdim": (-1, 100),
    "nsample": (0, 100),
    "shadowsize": (0, 8192),
    "offwidth": (1, 4096),
    "offheight": (1, 4096),
    "offsamples": (0, 16),
    "numslices": (3, 100),
    "numstacks": (2, 100),
    "numquads": (1, 10),
}
_LARGEST = {"nv": 300, "nbody": 500, "ngeom": 1000, "nu": 200, "na": 1000}


def check_mjcf(text: str) -> str:
    """`text` as it was understood, written anew. Raises `TaskError` saying what in it is not allowed."""
    if len(text) > LONGEST:
        raise TaskError(f"model: {len(text)} characters; at most {LONGEST} are allowed")
    if "<!" in text.replace("<!--", ""):
        raise TaskError("model: document types and entities are not allowed")
    try:
        root = ET.fromstring(text)  # noqa: S314 - neither entities nor document types get here
    except (ET.ParseError, RecursionError) as error:
        raise TaskError(f"model: not valid XML: {error}") from None
    for count, (element, depth) in enumerate(_walk(root)):
        if count >= _ELEMENTS or depth > _DEPTH:
            raise TaskError(f"model: more than {_ELEMENTS} elements or deeper than {_DEPTH}")
        if element.tag not in _ALLOWED:
            raise TaskError(f"model: element <{brief(element.tag)}> is not allowed in a task")
        for name, value in element.attrib.items():
            _check_attribute(element.tag, name, value)
    return ET.tostring(root, encoding="unicode")  # MuJoCo's own parser sees nothing but what was checked


@lru_cache(maxsize=32)
def compile_mjcf(text: str) -> Any:
    """The `mujoco.MjModel` of MJCF `text` after `check_mjcf`; treat it as read-only. Raises `TaskError`."""
    checked = check_mjcf(text)
    quiet()
    try:
        model = mujoco.MjModel.from_xml_string(checked)
    except (ValueError, mujoco.FatalError) as error:
        raise TaskError(f"model: MuJoCo refuses it: {error}") from None
    for name, largest in _LARGEST.items():
        if getattr(model, name) > largest:
            raise TaskError(f"model: {name} = {getattr(model, name)}; at most {largest} is allowed")
    return model


def _walk(root: ET.Element) -> Iterator[tuple[ET.Element, int]]:
    waiting = [(root, 1)]
    while waiting:
        element, depth = waiting.pop()
        yield element, depth
        waiting += [(child, depth + 1) for child in element]


def _check_attribute(tag: str, name: str, value: str) -> None:
    where = f"model: <{tag} {name}={brief(value)}>"
    if name.startswith(("file", "mesh", "hfield", "plugin")) or name in ("texturedir", "assetdir"):
        raise TaskError(f"{where}: models of tasks refer to no files")
    low, high = _RANGES.get(name, (-_HIGHEST, _HIGHEST))
    for word in value.split():
        try:
            number = float(word)
        except ValueError:
            continue
        if not (math.isfinite(number) and low <= number <= high):
            raise TaskError(f"{where}: {word} is not allowed; numbers are finite and from {low:g} to {high:g}")
