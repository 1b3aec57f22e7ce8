"""MJCF files as the models of tasks: one text that compiles to the same model, meshes as an artefact beside it."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import mujoco
import numpy as np
from numpy.typing import NDArray

from registry.errors import TaskError
from taskgen import artefacts
from taskgen.engines.mjcf import compile_mjcf
from taskgen.engines.mujoco_process import quiet

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

_LONGEST_HFIELD = 1 << 18
_KEPT = ("name", "class", "inertia", "maxhullvert")


def embed(path: Path, directory: Path | None = None) -> tuple[str, str]:
    """The model in the file `path` as a task holds it: MJCF text, and the name of its meshes' artefact ("": none).

    Includes, attached models, replicates and the like are written out, numbers to the last digit: without meshes the
    text compiles to the same bits as the file. Meshes are stored (`artefacts.save`) as vertices and faces in single
    precision, scaled and placed. What is only drawn is thinned: a texture of a file becomes its mean colour, skins go.
    Raises `TaskError` naming the file where MuJoCo does not read it, or where a task may not hold what it says.
    """
    if not path.is_file():
        raise TaskError(f"{path}: there is no such file: {path.resolve()}")
    quiet()
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        model = spec.copy().compile()
        for skin in list(spec.skins):
            spec.delete(skin)
        for number, texture in enumerate(spec.textures):
            _flatten_texture(texture, model, number)
        for number, field in enumerate(spec.hfields):
            _write_hfield(field, model, number)
        tensors: dict[str, NDArray[Any]] = {}
        for number, mesh in enumerate(spec.meshes):
            name = model.mesh(number).name
            tensors[f"{name}/vertex"], tensors[f"{name}/face"] = _surface(model, number)
            mesh.name = name
        spec.compiler.savecompiled = spec.compiler.savecanonical = False  # as written, with every digit
        spec.njmax = spec.nstack = -1  # memory alone, which MuJoCo measures out by itself
        text = _without_files(spec.to_xml())
    except (ValueError, OSError, mujoco.FatalError) as error:
        raise TaskError(f"{path}: MuJoCo refuses this model: {error}") from None
    name = artefacts.save(artefacts.Artefact(tensors, {"kind": "meshes"}), directory) if tensors else ""
    try:
        compile_mjcf(text, artefact=name)
    except TaskError as error:
        raise TaskError(f"{path}: {error}") from None
    return text, name


def _surface(model: Any, mesh: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vertices [N, 3] of a compiled mesh where its file has them, scaled, and faces [F, 3].

    The compiler moves a mesh into the frame of its inertia; `mesh_pos` and `mesh_quat` are the way back.
    """
    first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, model.mesh_quat[mesh])
    vertex = model.mesh_vert[first : first + count].astype(np.float64) @ rotation.reshape(3, 3).T + model.mesh_pos[mesh]
    first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    return vertex.astype(np.float32), model.mesh_face[first : first + count].astype(np.int32)


def _without_files(text: str) -> str:
    """`text` with meshes that are names alone; how their mass is told from their surface stays."""
    root = ET.fromstring(text)  # noqa: S314 - MuJoCo wrote it
    for mesh in root.iterfind("asset/mesh"):
        kept = {name: mesh.get(name, "") for name in _KEPT if name in mesh.attrib}
        mesh.attrib.clear()
        mesh.attrib.update({**kept, "scale": "1 1 1"})  # a default class may state another
    return ET.tostring(root, encoding="unicode")


def _flatten_texture(texture: Any, model: Any, number: int) -> None:
    if not texture.file and not any(texture.cubefiles):
        return
    first, channels = model.tex_adr[number], model.tex_nchannel[number]
    size = model.tex_width[number] * model.tex_height[number] * channels
    mean = model.tex_data[first : first + size].reshape(-1, channels)[:, :3].mean(axis=0) / 255.0
    texture.file, texture.content_type = "", ""
    for side in range(len(texture.cubefiles)):
        texture.cubefiles[side] = ""
    texture.builtin, texture.nchannel = mujoco.mjtBuiltin.mjBUILTIN_FLAT, 3
    texture.rgb1 = texture.rgb2 = np.broadcast_to(mean, 3)
    texture.width = texture.height = 8
    texture.gridsize, texture.gridlayout = (1, 1), "." * 12
    texture.hflip = texture.vflip = False


def _write_hfield(field: Any, model: Any, number: int) -> None:
    if not field.file:
        return
    rows, columns, first = model.hfield_nrow[number], model.hfield_ncol[number], model.hfield_adr[number]
    if rows * columns > _LONGEST_HFIELD:
        raise ValueError(f"height field of {rows} x {columns}; at most {_LONGEST_HFIELD} values are written out")
    field.name, field.file, field.content_type = model.hfield(number).name, "", ""
    field.nrow, field.ncol = int(rows), int(columns)
    field.userdata = model.hfield_data[first : first + rows * columns]
