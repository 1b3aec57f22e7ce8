"""Bodies of capsules and spheres, thicker or thinner: what the compiler of MuJoCo would make of other radii.

Lengths stay: they would move joints, and with them the height at which a robot starts and counts as healthy.

Sources: MuJoCo's documentation, "Body inertias" (inertia from geoms); solid capsules and the parallel axis theorem from
any book on mechanics.
"""

from typing import Any

import mujoco
import numpy as np

from taskgen.engines.mujoco import Array

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false


class Limbs:
    """The fields of `model` that depend on the radius of its capsules and spheres.

    `total_mass`: whether the mass of the whole robot stays (the compiler's `settotalmass`), else its density does.
    """

    def __init__(self, model: Any, *, total_mass: bool) -> None:
        kinds = (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_SPHERE)
        self._geoms = np.flatnonzero(np.isin(model.geom_type, kinds))
        self._owner = model.geom_bodyid[self._geoms]
        assert (np.delete(model.geom_bodyid, self._geoms) == 0).all(), "a body has geoms of other kinds"
        self._model, self._total_mass = model, total_mass
        capsule = model.geom_type[self._geoms] == mujoco.mjtGeom.mjGEOM_CAPSULE
        self._radius = model.geom_size[self._geoms, 0]
        self._length = np.where(capsule, 2.0 * model.geom_size[self._geoms, 1], 0.0)
        self._position = model.geom_pos[self._geoms]
        self._rotation = np.array([_matrix(quaternion) for quaternion in model.geom_quat[self._geoms]])
        volume = np.bincount(self._owner, _volume(self._radius, self._length), model.nbody)
        self._density = np.divide(model.body_mass, volume, out=np.zeros(model.nbody), where=volume > 0.0)

    def fields(self, thickness: Array) -> dict[str, Array]:
        """Model fields by name, [B, ...], where every radius is `thickness` [B] times as large; 1: the model's own.

        Empty where no row has another thickness than 1.
        """
        if (thickness == 1.0).all():
            return {}
        model, slots, rows = self._model, len(thickness), np.flatnonzero(thickness != 1.0)
        names = ("body_mass", "body_inertia", "body_ipos", "body_iquat", "geom_size", "geom_rbound", "geom_aabb")
        fields = {name: np.repeat(getattr(model, name)[None], slots, axis=0) for name in names}
        radius = thickness[rows, None] * self._radius
        index = np.ix_(rows, self._geoms)
        fields["geom_size"][*index, 0] = radius
        fields["geom_rbound"][index] = radius + self._length / 2.0
        bounds = fields["geom_aabb"].reshape(slots, -1, 6)
        bounds[*index, 3:] = radius[:, :, None] + self._length[:, None] / 2.0 * [0.0, 0.0, 1.0]
        fields["geom_aabb"] = bounds.reshape(fields["geom_aabb"].shape)
        for body in np.unique(self._owner).tolist():
            mass, inertia, position, quaternion = self._body(body, radius)
            fields["body_mass"][rows, body], fields["body_inertia"][rows, body] = mass, inertia
            fields["body_ipos"][rows, body], fields["body_iquat"][rows, body] = position, quaternion
        if self._total_mass:
            scale = model.body_mass.sum() / fields["body_mass"][rows].sum(1, keepdims=True)
            fields["body_mass"][rows] *= scale
            fields["body_inertia"][rows] *= scale[:, :, None]
        return fields

    def _body(self, body: int, radius: Array) -> tuple[Array, Array, Array, Array]:
        """Mass [B], principal inertia [B, 3], centre of mass [B, 3] and principal axes [B, 4] of a body."""
        mine = self._owner == body
        length, position, rotation = self._length[mine], self._position[mine], self._rotation[mine]
        masses = self._density[body] * _volume(radius[:, mine], length)
        inertia = _inertia(masses, radius[:, mine], length)
        if mine.sum() == 1:
            return masses[:, 0], inertia[:, 0], position[0], self._model.geom_quat[self._geoms][mine][0]
        mass = masses.sum(1)
        centre = (masses[:, :, None] * position).sum(1) / mass[:, None]
        lever = position - centre[:, None]
        turned = np.einsum("gij,bgj,gkj->bgik", rotation, inertia, rotation)
        square = np.einsum("bgi,bgi->bg", lever, lever)[:, :, None, None] * np.eye(3)
        shifted = masses[:, :, None, None] * (square - lever[:, :, :, None] * lever[:, :, None])
        principal, axes = (values[..., ::-1] for values in np.linalg.eigh((turned + shifted).sum(1)))  # largest first
        axes = axes * np.sign(np.linalg.det(axes))[:, None, None]  # a rotation, not a reflection
        return mass, principal, centre, np.array([_quaternion(matrix) for matrix in axes])


def _volume(radius: Array, length: Array) -> Array:
    return np.pi * np.square(radius) * (length + 4.0 / 3.0 * radius)


def _inertia(mass: Array, radius: Array, length: Array) -> Array:
    """[..., 3] of solid capsules along z about their centres: a cylinder between two half spheres."""
    balls = mass * 4.0 * radius / (4.0 * radius + 3.0 * length)
    cylinder = mass - balls
    along = np.square(radius) * (cylinder / 2.0 + balls * 2.0 / 5.0)
    across = cylinder * (3.0 * np.square(radius) + np.square(length)) / 12.0
    across = across + balls * (np.square(radius) * 2.0 / 5.0 + length * (3.0 * radius + 2.0 * length) / 8.0)
    return np.stack([across, across, along], axis=-1)


def _matrix(quaternion: Array) -> Array:
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)


def _quaternion(matrix: Array) -> Array:
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(matrix).ravel())
    return quaternion
