"""MJCF from anywhere: what a model may hold before MuJoCo gets to see it.

MuJoCo opens any path that a model names, loads plugins, fills the memory and steps for ever when told to. So what names
a file, loads code or multiplies elements is refused with its reason, numbers are what C reads as finite numbers, and
what a model asks for has a budget (`taskgen.engines.mjcf_budget`). Whatever else MJCF has is harmless and gets through.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree as ET

import mujoco
import numpy as np

from registry.errors import TaskError, brief
from taskgen import artefacts
from taskgen.engines.mjcf_budget import check_budget
from taskgen.engines.mujoco_process import quiet

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

LONGEST = 4_000_000
"""Characters."""
_ELEMENTS, _DEPTH, _HIGHEST = 20_000, 100, 1e12
_HARMLESS = frozenset(
    word
    for line in (
        "mujoco compiler lengthrange option flag size statistic visual global quality headlight map scale rgba",
        "default asset texture material layer mesh hfield worldbody body inertial joint freejoint geom site camera",
        "light frame contact pair exclude equality connect weld tendon fixed spatial pulley keyframe key custom",
        "numeric text tuple element actuator general motor position velocity intvelocity orientation pid damper",
        "cylinder muscle adhesion dcmotor sensor touch accelerometer velocimeter gyro force torque magnetometer",
        "camprojection",
        "rangefinder jointpos jointvel tendonpos tendonvel actuatorpos actuatorvel actuatorfrc jointactuatorfrc",
        "tendonactuatorfrc ballquat ballangvel jointlimitpos jointlimitvel jointlimitfrc tendonlimitpos tendonlimitvel",
        "tendonlimitfrc framepos framequat framexaxis frameyaxis framezaxis framelinvel frameangvel framelinacc",
        "frameangacc subtreecom subtreelinvel subtreeangmom insidesite distance normal fromto e_potential e_kinetic",
        "clock user",
    )
    for word in line.split()
)
_FLAT = "the command line does that with a file: family.model=FILE.xml"
_REFUSED = {
    **dict.fromkeys(("include", "attach", "model"), f"reads other files; write the model as one text, {_FLAT}"),
    **dict.fromkeys(("replicate", "composite", "flexcomp"), f"multiplies what is in it; write the copies out, {_FLAT}"),
    **dict.fromkeys(("extension", "plugin", "instance", "config"), "loads code into the process; leave it out"),
    **dict.fromkeys(("deformable", "flex", "flexstrain"), "soft bodies have no budget yet; leave them out"),
    **dict.fromkeys(("skin", "bone"), f"is only drawn, and large; leave it out, {_FLAT}"),
    "tactile": "looks at every vertex of a mesh, for which there is no budget; leave it out",
}
_FILES = frozenset(["file", "fileright", "fileleft", "fileup", "filedown", "filefront", "fileback", "content_type"])
_TEXT = frozenset(
    [
        "name",
        "class",
        "childclass",
        "joint",
        "joint1",
        "joint2",
        "jointinparent",
        "body",
        "body1",
        "body2",
        "site",
        "site1",
        "site2",
        "geom",
        "geom1",
        "geom2",
        "sidesite",
        "refsite",
        "cranksite",
        "slidersite",
        "tendon",
        "tendon1",
        "tendon2",
        "actuator",
        "camera",
        "material",
        "mesh",
        "hfield",
        "texture",
        "target",
        "objname",
        "refname",
        "subtree1",
        "subtree2",
        "meshdir",
        "texturedir",
        "assetdir",
    ]
)
"""Attributes that hold names, in which nothing is read as a number."""
_TEXT_OF = {("mujoco", "model"), ("text", "data")}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_KEYWORD = re.compile(r"(?!inf|nan)[a-z][a-z_]*|2d|rk4", re.ASCII | re.IGNORECASE)  # C reads "inf..." and "nan..."
_MEMORY = re.compile(r"\d+[kmgtpe]?|-1", re.ASCII | re.IGNORECASE)
_RANGES = {
    ("option", "timestep"): (1e-6, 1.0, "time goes on in steps of this many seconds"),
    ("lengthrange", "timestep"): (1e-4, 1.0, "the compiler simulates in steps of this many seconds"),
    ("lengthrange", "inttotal"): (0.0, 100.0, "the compiler simulates for this many seconds"),
    ("mesh", "params"): (-1e3, 1e3, "a mesh made of parameters grows with them"),
    ("quality", "shadowsize"): (0, 16384, "pictures take the memory of its square"),
    ("global", "offwidth"): (1, 8192, "pictures are this wide"),
    ("global", "offheight"): (1, 8192, "pictures are this high"),
    ("quality", "offsamples"): (0, 64, "pictures take this many times the memory"),
    ("quality", "numslices"): (3, 1000, "pictures of round things take the memory of it"),
    ("quality", "numstacks"): (2, 1000, "pictures of round things take the memory of it"),
    ("quality", "numquads"): (1, 100, "pictures of planes take the memory of it"),
}
"""Element and attribute -> from, to, what for."""


def check_mjcf(text: str) -> str:
    """`text` as it was understood, written anew. Raises `TaskError` saying what in it is not allowed, and why."""
    return ET.tostring(_checked(text), encoding="unicode")  # MuJoCo's own parser sees nothing but what was checked


@lru_cache(maxsize=32)
def compile_mjcf(text: str, frame_skip: int = 1, artefact: str = "") -> Any:
    """The `mujoco.MjModel` of MJCF `text` after `check_mjcf`, within its budget; treat it as read-only.

    Meshes that state neither vertices nor parameters are those of the artefact of that name (`mjcf_files.embed`).
    `frame_skip` is how many physics steps one step takes, which counts in the budget. Raises `TaskError`.
    """
    root = _checked(text)
    tensors = artefacts.load(artefact).tensors if artefact else {}
    check_budget(root, frame_skip, sum(value.nbytes for value in tensors.values()))
    quiet()
    try:
        spec = mujoco.MjSpec.from_string(ET.tostring(root, encoding="unicode"))
        for mesh in spec.meshes:
            if f"{mesh.name}/vertex" in tensors:
                mesh.uservert, mesh.userface = _mesh(mesh.name, tensors)
        model = spec.compile()
    except (ValueError, mujoco.FatalError) as error:
        bare = not artefact and root.find("asset/mesh") is not None
        hint = " (meshes of files are an artefact, which the setting `artefact` names)" if bare else ""
        raise TaskError(f"model: MuJoCo refuses it: {error}{hint}") from None
    unfit = mujoco.mjtEnableBit.mjENBL_SLEEP.value | mujoco.mjtEnableBit.mjENBL_IPC.value
    if model.opt.enableflags & unfit:
        raise TaskError(
            "model: <flag sleep> and <flag ipc> keep state between steps outside of the simulation's state, so that "
            "episodes could not be repeated; leave them out"
        )
    return model


def _checked(text: str) -> ET.Element:
    if len(text) > LONGEST:
        raise TaskError(f"model: {len(text)} characters; at most {LONGEST} are allowed")
    text = text.lstrip("\ufeff \t\r\n")
    if "<!" in text.replace("<!--", ""):
        raise TaskError("model: document types and entities are not allowed, they can multiply text without end")
    try:
        root = ET.fromstring(text)  # noqa: S314 - neither entities nor document types get here
    except (ET.ParseError, RecursionError, ValueError) as error:
        raise TaskError(f"model: not valid XML: {error}") from None
    for count, (element, depth) in enumerate(_walk(root)):
        if count >= _ELEMENTS or depth > _DEPTH:
            raise TaskError(
                f"model: more than {_ELEMENTS} elements or deeper than {_DEPTH}, which takes too long to read"
            )
        if element.tag not in _HARMLESS:
            reason = _REFUSED.get(element.tag, "is no element of MJCF that is known to be harmless")
            raise TaskError(f"model: <{brief(element.tag)[1:-1]}> {reason}")
        for name, value in element.attrib.items():
            _check_attribute(element.tag, name, value)
    return root


def _walk(root: ET.Element) -> Iterator[tuple[ET.Element, int]]:
    waiting = [(root, 1)]
    while waiting:
        element, depth = waiting.pop()
        yield element, depth
        waiting += [(child, depth + 1) for child in element]


def _check_attribute(tag: str, name: str, value: str) -> None:
    if name in _TEXT or (tag, name) in _TEXT_OF:
        return
    where = f"model: <{tag} {name}={brief(value)}>"
    if name in _FILES:
        raise TaskError(
            f"{where}: a task holds its model whole and reads no files; write the model as one text, {_FLAT}"
        )
    if (tag, name) == ("size", "memory"):
        if not _MEMORY.fullmatch(value.strip()):
            raise TaskError(f"{where}: expected a number of bytes, such as 16M")
        return
    low, high, why = _RANGES.get((tag, name), (-_HIGHEST, _HIGHEST, "beyond, MuJoCo's sums lose all digits"))
    for word in re.split(r"[ \t\n\r\f\v]+", value):
        if not word or _KEYWORD.fullmatch(word):
            continue
        if not _NUMBER.fullmatch(word):
            raise TaskError(
                f"{where}: {brief(word)} is no number that C reads as MuJoCo means it; write 1, -0.5 or 1e-3"
            )
        if not low <= float(word) <= high:
            raise TaskError(f"{where}: {word} is not allowed; from {low:g} to {high:g}: {why}")


def _mesh(name: str, tensors: Any) -> tuple[Any, Any]:
    """Flat vertices and faces of a mesh. Raises `TaskError` where they are none."""
    vertex, face = tensors[f"{name}/vertex"], tensors.get(f"{name}/face")
    fits = vertex.ndim == 2 and vertex.shape[1] == 3 and vertex.dtype == np.float32 and bool(np.isfinite(vertex).all())
    if not fits or face is None or face.ndim != 2 or face.shape[1] != 3 or face.dtype != np.int32:
        raise TaskError(
            f"mesh {brief(name)} of the artefact: expected finite float32 vertices [N, 3], int32 faces [F, 3]"
        )
    if face.size and not (face.min() >= 0 and face.max() < len(vertex)):
        raise TaskError(f"mesh {brief(name)} of the artefact: its faces name vertices that it does not have")
    return vertex.astype(np.float64).ravel(), face.ravel()
