"""Fields of a MuJoCo model as knobs: what each scales, in which rows of which arrays, and where it can change nothing.

A knob is written `field.elements`: one element by name or number, several separated by commas (`body_mass.thigh,shin`)
or by pattern (`geom_friction.*_foot`, `dof_damping.*`). All elements of a knob share its one draw.
"""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import mujoco
import numpy as np

from registry.errors import TaskError, brief, suggest
from taskgen.engines.mujoco import Array, Arrays, field
from taskgen.space import Knob
from taskgen.variation import LogUniform, Uniform

# pyright: reportAttributeAccessIssue=false


@dataclass(frozen=True)
class Meaning:
    """What the knobs of one field do."""

    of: str
    """Kind of element, or "" for a field of the whole model."""
    arrays: tuple[str, ...]
    """Fields of the `mujoco.MjModel` that are changed together."""
    help: str
    how: Literal["scale", "width", "shift"] = "scale"
    """Times a number; ranges about their middle times a number; plus a vector in metres."""

    @property
    def sentence(self) -> str:
        """What a knob of the field does."""
        return f"{'Moves' if self.how == 'shift' else 'Scales'} the {self.help}."

    @property
    def unit(self) -> str:
        """Of the knob's values."""
        return "m" if self.how == "shift" else "times"


FIELDS: Mapping[str, Meaning] = {
    "body_mass": Meaning(
        "body",
        ("body_mass", "body_inertia"),
        "mass of bodies, their inertia with it. What the model derived from its masses when it was compiled "
        "(dampratio, springdamper, lengths of tendon springs) stays: a servo does not know its load",
    ),
    "body_ipos": Meaning("body", ("body_ipos",), "centre of mass of bodies, in their frames", "shift"),
    "geom_friction": Meaning(
        "geom",
        ("geom_friction", "pair_friction"),
        "friction of geoms. A contact has the larger friction of its two geoms, or that of the one with priority, or "
        "that of its pair where one is defined; so an element below its partner's changes nothing",
    ),
    "geom_size": Meaning("geom", ("geom_size",), "size of geoms, about their centres; masses stay"),
    "dof_damping": Meaning("joint", ("dof_damping", "dof_dampingpoly"), "damping of joints, polynomial terms included"),
    "dof_armature": Meaning("joint", ("dof_armature",), "inertia of the rotors of joints"),
    "dof_frictionloss": Meaning("joint", ("dof_frictionloss",), "dry friction of joints"),
    "jnt_stiffness": Meaning("joint", ("jnt_stiffness", "jnt_stiffnesspoly"), "stiffness of the springs of joints"),
    "jnt_range": Meaning("joint", ("jnt_range",), "width of the range of joints about its middle", "width"),
    "actuator_gear": Meaning(
        "actuator",
        ("actuator_gear", "actuator_gainprm", "actuator_biasprm"),
        "strength of actuators: of motors the gear, of servos, dampers and cylinders gain and bias together (the "
        "target stays where it was), of muscles the peak force",
    ),
    "actuator_kv": Meaning("actuator", ("actuator_biasprm",), "damping of servos, their force against velocity"),
    "actuator_forcerange": Meaning("actuator", ("actuator_forcerange",), "largest force of actuators that limit it"),
    "tendon_stiffness": Meaning("tendon", ("tendon_stiffness", "tendon_stiffnesspoly"), "stiffness of tendons"),
    "tendon_damping": Meaning("tendon", ("tendon_damping", "tendon_dampingpoly"), "damping of tendons"),
    "tendon_frictionloss": Meaning("tendon", ("tendon_frictionloss",), "dry friction of tendons"),
    "tendon_armature": Meaning("tendon", ("tendon_armature",), "inertia of tendons"),
    "gravity": Meaning("", ("opt.gravity",), "acceleration of gravity"),
    "density": Meaning("", ("opt.density",), "density of the medium, which drags"),
    "viscosity": Meaning("", ("opt.viscosity",), "viscosity of the medium"),
}
"""Field -> what its knobs do."""
USUAL = ("body_mass.*", "geom_friction.*", "dof_damping.*", "actuator_gear.*", "gravity")
"""Knobs of a model of which none are named, as far as they live."""

_WHOLE = slice(None)
_SIZED = frozenset(
    getattr(mujoco.mjtGeom, f"mjGEOM_{kind}").value for kind in ("SPHERE", "CAPSULE", "ELLIPSOID", "CYLINDER", "BOX")
)


@dataclass(frozen=True)
class Edit:
    """Rows and columns of one array of a model that a knob changes."""

    array: str
    rows: Array
    columns: tuple[int, int | None] = (0, None)
    """From, up to."""


@dataclass(frozen=True)
class FieldKnob:
    """A knob of a model."""

    name: str
    meaning: Meaning
    edits: tuple[Edit, ...]
    knob: Knob

    def apply(self, model: Any, value: Array, fields: dict[str, Array]) -> None:
        """Change `fields`, arrays [B, ...] by name that start as the model's, by `value` [B] or [B, 3]."""
        for edit in self.edits:
            base = field(model, edit.array)
            if edit.array not in fields:
                fields[edit.array] = np.repeat(base[None], len(value), axis=0)
            values = fields[edit.array]
            if base.ndim == 0:
                values *= value
                continue
            place = (_WHOLE, edit.rows) if base.ndim == 1 else (_WHOLE, edit.rows[:, None], _columns(base, edit))
            factor = value.reshape(-1, *(1,) * base.ndim)
            if self.meaning.how == "shift":
                values[place] += value[:, None]
            elif self.meaning.how == "width":
                middle = base[edit.rows].mean(-1, keepdims=True)
                values[place] = middle + (values[place] - middle) * factor
            else:
                values[place] *= factor


def field_knob(model: Any, name: str) -> FieldKnob:
    """The knob `name` of `model`. Raises `TaskError` for unknown names and where there is nothing to change."""
    key, _, elements = name.partition(".")
    if key not in FIELDS or bool(FIELDS[key].of) != bool(elements):
        known = [f"{known}.*" if meaning.of else known for known, meaning in FIELDS.items()]
        raise TaskError(f"fields: {brief(name)}: no such field. {suggest(name if elements else f'{name}.*', known)}")
    meaning = FIELDS[key]
    edits = tuple(
        edit for edit in _edits(model, key, _numbers(model, meaning, name, elements)) if _is_there(model, edit)
    )
    if not edits and meaning.how != "shift":
        raise TaskError(f"fields: {name} is 0 in this model: scaling it changes nothing")
    return FieldKnob(name, meaning, edits, _knob(model, meaning))


def why_dead(model: Any, knob: FieldKnob) -> str:
    """Why a knob that changed nothing in a trial may have done so, as a sentence without a stop."""
    key = knob.name.partition(".")[0]
    if key in _SWITCHES and model.opt.disableflags & _SWITCHES[key].value:
        return f"the model's <flag> disables {_SWITCHES[key].name[7:].lower()}"
    return _why_friction_is_dead(model, knob) if key == "geom_friction" else _WHY.get(key, _WHY[""])


_DISABLED = mujoco.mjtDisableBit
_SWITCHES: Mapping[str, Any] = {
    "geom_friction": _DISABLED.mjDSBL_CONTACT,
    "gravity": _DISABLED.mjDSBL_GRAVITY,
    "dof_damping": _DISABLED.mjDSBL_DAMPER,
    "tendon_damping": _DISABLED.mjDSBL_DAMPER,
    "jnt_stiffness": _DISABLED.mjDSBL_SPRING,
    "tendon_stiffness": _DISABLED.mjDSBL_SPRING,
    "dof_frictionloss": _DISABLED.mjDSBL_FRICTIONLOSS,
    "tendon_frictionloss": _DISABLED.mjDSBL_FRICTIONLOSS,
    "jnt_range": _DISABLED.mjDSBL_LIMIT,
    "actuator_gear": _DISABLED.mjDSBL_ACTUATION,
}
_WHY = {
    "gravity": "no joint gives way to gravity",
    "jnt_range": "no joint of it came to an end of its range",
    "body_mass": "no joint or actuator moves it",
    "body_ipos": "no joint or actuator moves it",
    "geom_size": "nothing of it touched anything",
    "actuator_forcerange": "no force came to its limit",
    "": "nothing that moved depends on it",
}


def _why_friction_is_dead(model: Any, knob: FieldKnob) -> str:
    rows = next((edit.rows for edit in knob.edits if edit.array == "geom_friction"), np.zeros(0, dtype=np.int64))
    others = np.setdiff1d(np.arange(model.ngeom), rows)
    if model.opt.enableflags & mujoco.mjtEnableBit.mjENBL_OVERRIDE.value:
        return "the model's <flag> overrides the friction of all contacts"
    if not (model.geom_contype[rows].any() or model.geom_conaffinity[rows].any()):
        return "its geoms touch nothing (contype and conaffinity are 0)"
    if len(others) and model.geom_friction[rows, 0].max(initial=0) < model.geom_friction[others, 0].max():
        return "a contact takes the larger friction of its two geoms, and other geoms have more: scale them too"
    return "nothing of it touched anything, or nothing that touched could slide"


def _numbers(model: Any, meaning: Meaning, name: str, elements: str) -> Array:
    """Elements that a knob names, by number."""
    if not meaning.of:
        return np.arange(1)
    kind = meaning.of
    count = {"body": "nbody", "geom": "ngeom", "joint": "njnt", "actuator": "nactuator", "tendon": "ntendon"}[kind]
    names = {getattr(model, kind)(number).name or str(number): number for number in range(getattr(model, count))}
    found: set[int] = set()
    for element in elements.split(","):
        pattern = element.replace("[", "[[]").replace("?", "[?]")  # the star alone stands for something
        matches = [number for known, number in names.items() if fnmatch.fnmatchcase(known, pattern)]
        if not matches:
            raise TaskError(f"fields: {brief(name)}: no such {kind} {brief(element)}. {suggest(element, list(names))}")
        found.update(matches)
    return np.array(sorted(found))


def _edits(model: Any, key: str, numbers: Array) -> list[Edit]:
    if key == "actuator_gear":
        return _strength(model, numbers)
    if key == "geom_friction":
        pairs = np.isin(model.pair_geom1, numbers) | np.isin(model.pair_geom2, numbers)
        return [Edit("geom_friction", numbers), Edit("pair_friction", np.flatnonzero(pairs))]
    columns = (0, None)
    if key == "actuator_kv":
        servo = (model.actuator_biastype == mujoco.mjtBias.mjBIAS_AFFINE.value) & (model.actuator_biasprm[:, 1] != 0)
        numbers, columns = numbers[servo[numbers]], (2, 3)
    elif key == "geom_size":
        numbers = numbers[np.isin(model.geom_type[numbers], list(_SIZED))]
    elif key == "jnt_range":
        numbers = numbers[model.jnt_limited[numbers].astype(bool)]
    elif key == "actuator_forcerange":
        numbers = numbers[model.actuator_forcelimited[numbers].astype(bool)]
    elif key.startswith("dof"):
        numbers = np.flatnonzero(np.isin(model.dof_jntid, numbers))
    elif not FIELDS[key].of:
        numbers = np.arange(3)  # of gravity; other fields of the whole model have no rows
    return [Edit(array, numbers, columns) for array in FIELDS[key].arrays]


def _strength(model: Any, numbers: Array) -> list[Edit]:
    gain, bias, body = mujoco.mjtGain, mujoco.mjtBias, mujoco.mjtTrn.mjTRN_BODY.value
    kinds, biases = model.actuator_gaintype[numbers], model.actuator_biastype[numbers]
    unknown = np.isin(kinds, [gain.mjGAIN_DCMOTOR.value, gain.mjGAIN_PID.value, gain.mjGAIN_USER.value])
    if unknown.any():
        name = model.actuator(int(numbers[unknown][0])).name or str(numbers[unknown][0])
        raise TaskError(
            f"fields: actuator {name!r} is a pid, a dcmotor or a user's: no one number is its strength; name the others"
        )
    muscle = kinds == gain.mjGAIN_MUSCLE.value
    motor = (kinds == gain.mjGAIN_FIXED.value) & (biases == bias.mjBIAS_NONE.value)
    motor &= model.actuator_trntype[numbers] != body
    outputs = [
        output
        for number in numbers[motor]
        for output in range(
            model.actuator_outadr[number], model.actuator_outadr[number] + model.actuator_outnum[number]
        )
    ]
    force = (2, 4)  # of a muscle: its peak force, or the scale that stands for it
    return [
        Edit("actuator_gear", np.array(outputs, dtype=np.int64)),
        *(Edit(f"actuator_{array}", numbers[muscle], force) for array in ("gainprm", "biasprm")),
        *(Edit(f"actuator_{array}", numbers[~muscle & ~motor], (0, 3)) for array in ("gainprm", "biasprm")),
    ]


def _is_there(model: Any, edit: Edit) -> bool:
    base = field(model, edit.array)
    if edit.array == "body_ipos":
        return bool(len(edit.rows))
    if base.ndim < 2:
        return bool(np.any(base[edit.rows] if base.ndim else base))
    return bool(np.any(base[edit.rows[:, None], _columns(base, edit)]))


def _columns(base: Array, edit: Edit) -> Array:
    return np.arange(base.shape[1])[slice(*edit.columns)]


def _knob(model: Any, meaning: Meaning) -> Knob:
    if meaning.how == "shift":
        most = float(model.stat.meansize)
        drawn = Uniform(low=-most / 5.0, high=most / 5.0)
        return Knob(-5.0 * most, 5.0 * most, 0.0, meaning.sentence, meaning.unit, (3,), vary=drawn)
    return Knob(0.25, 4.0, 1.0, meaning.sentence, unit=meaning.unit, vary=LogUniform(low=0.5, high=2.0))


def knobs_of(model: Any, names: Sequence[str]) -> dict[str, FieldKnob]:
    """The knobs `names` of `model`, by name. Raises `TaskError`, naming the first that cannot be."""
    return {name: field_knob(model, name) for name in names}


def edited(model: Any, knobs: Mapping[str, FieldKnob], tables: Arrays) -> dict[str, Array]:
    """Fields of the model, [B, ...] by name, of tasks whose knobs have the values `tables`."""
    fields: dict[str, Array] = {}
    for name, knob in knobs.items():
        knob.apply(model, tables[name], fields)
    return fields
