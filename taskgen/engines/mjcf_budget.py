"""What a model may ask for, counted before MuJoCo compiles it: bytes to hold it, operations of one step.

Both are estimates from above of what MuJoCo allocates and computes. The limits belong to the machine and not to the
task, which is data: the environment variables `TASKGEN_MODEL_BYTES` and `TASKGEN_MODEL_OPERATIONS` raise them.
"""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from registry.config import stated
from registry.errors import TaskError, brief

BYTES, OPERATIONS = "TASKGEN_MODEL_BYTES", "TASKGEN_MODEL_OPERATIONS"
_LIMITS = {BYTES: 1 << 28, OPERATIONS: 10**9}
_UNITS = {unit: 1 << 10 * (power + 1) for power, unit in enumerate("KMGTPE")}
_DOFS = {"free": 6, "ball": 3}
_SIDES = 6  # of a cube, which MuJoCo draws one beneath the other
_NUMBER = 8  # bytes
_CONTACTS = 50  # iterations with which MuJoCo tells whether two convex geoms touch, by default; rounded up
_VERTEX = 200  # bytes that a vertex of a mesh takes, with its faces and its part of the hull
_ROW = 52  # bytes that MuJoCo reserves for each pair of the constraints that `njmax` allows, measured


def check_budget(root: ET.Element, frame_skip: int, mesh_bytes: int) -> None:
    """Raise `TaskError` where the model in `root` (checked MJCF) asks for more than the limits of this machine.

    `mesh_bytes` lie beside the text; `frame_skip` physics steps are one step.
    """
    asked = dict(_bytes(root))
    asked["its meshes"] = 8 * mesh_bytes  # vertices, normals, hulls and trees of boxes, measured
    _compare(asked, BYTES, "bytes")
    _compare(dict(_operations(root, frame_skip)), OPERATIONS, "operations a step")


def limit(variable: str) -> int:
    """The limit that the environment states, or the usual one. Raises `ConfigError` for what is no number."""
    return stated(variable, _LIMITS[variable])


def dofs(root: ET.Element) -> int:
    """Degrees of freedom, from above: joints of no stated type count as the largest that a default states."""
    usual = max((_DOFS.get(joint.get("type", ""), 1) for joint in root.iterfind(".//default/joint")), default=1)
    count = 0
    for world in root.iterfind("worldbody"):
        count += 6 * sum(1 for _ in world.iter("freejoint"))
        count += sum(_DOFS.get(kind, 1) if (kind := joint.get("type")) else usual for joint in world.iter("joint"))
    return count


def _compare(asked: dict[str, int], variable: str, unit: str) -> None:
    total, most = sum(asked.values()), limit(variable)
    if total > most:
        what = max(asked, key=lambda name: asked[name])
        raise TaskError(
            f"model: asks for {total:,} {unit}, {asked[what]:,} of them for {what}; at most {most:,} are allowed here. "
            f"Make it smaller, or set the environment variable {variable} on machines that can afford it"
        )


def _bytes(root: ET.Element) -> Iterator[tuple[str, int]]:
    yield "the inertia of its joints", 8 * _NUMBER * dofs(root) ** 2
    for number, texture in enumerate(root.iter("texture")):
        width, height = _integer(texture, "width", 1), _integer(texture, "height", 1)
        if texture.get("type", "cube") != "2d" and texture.get("builtin", "none") != "none":
            height = _SIDES * width
        yield _where(texture, number), width * height * max(3, _integer(texture, "nchannel", 3))
    for number, field in enumerate(root.iter("hfield")):
        yield _where(field, number), 4 * _integer(field, "nrow", 0) * _integer(field, "ncol", 0)
    for number, camera in enumerate(root.iter("camera")):
        across, down = ([*camera.get("resolution", "1 1").split(), "1", "1"])[:2]
        yield _where(camera, number), 10 * _NUMBER * _whole(across) * _whole(down)
    for number, custom in enumerate(root.iterfind("custom/numeric")):
        yield _where(custom, number), _NUMBER * _integer(custom, "size", 0)
    for number, sensor in enumerate(root.iterfind("sensor/*")):
        values = max(_integer(sensor, "dim", 3), 10 * _integer(sensor, "num", 1))
        yield _where(sensor, number), _NUMBER * values * (1 + _integer(sensor, "nsample", 0))
    for number, actuator in enumerate(root.iterfind("actuator/*")):
        values = 1 + _integer(actuator, "nsample", 0) + 3 * _integer(actuator, "actdim", 1)
        yield _where(actuator, number), 2 * _NUMBER * values
    for number, mesh in enumerate(root.iter("mesh")):
        finest = max(map(_whole, mesh.get("params", "0").split()), default=0)
        yield f"{_where(mesh, number)} and its parameters", _VERTEX * finest**2
    elements = sum(1 for _ in root.iter())
    state = 4 * (dofs(root) + sum(1 for _ in root.iterfind("actuator/*")) + 8)
    for number, size in enumerate(root.iter("size")):
        for name in size.attrib:
            yield f"<size {name}> {number}", _size(size, name, elements, state)
    yield "its keyframes", _NUMBER * state * sum(1 for _ in root.iterfind("keyframe/key"))


def _size(size: ET.Element, name: str, elements: int, state: int) -> int:
    if name == "memory":
        text = size.get(name, "-1").strip().upper()
        return 0 if text == "-1" else int(text.rstrip("KMGTPE")) * _UNITS.get(text[-1], 1)
    count = _integer(size, name, 0)
    if name == "njmax":
        return _ROW * count**2
    if name.startswith("nuser_"):
        return _NUMBER * count * elements
    if name == "nkey":
        return _NUMBER * count * state
    return _NUMBER * count


def _operations(root: ET.Element, frame_skip: int) -> Iterator[tuple[str, int]]:
    def option(name: str, usual: int) -> int:
        return max([usual, *(_integer(element, name, usual) for element in root.iterfind("option"))])

    free = dofs(root)
    geoms = sum(1 for world in root.iterfind("worldbody") for _ in world.iter("geom"))
    solver = option("iterations", 100) + option("noslip_iterations", 0)
    yield "constants of its joints, once", free**3
    yield (
        f"{frame_skip} physics steps of {solver} iterations over {free} degrees of freedom",
        frame_skip * solver * (free**2 + free * option("ls_iterations", 50)),
    )
    touching = max(option("ccd_iterations", _CONTACTS), option("sdf_iterations", 10), option("sdf_initpoints", 40))
    yield f"{frame_skip} physics steps of contacts among {geoms} geoms", frame_skip * geoms**2 * touching
    cameras = {camera.get("name"): camera.get("resolution", "1 1") for camera in root.iter("camera")}
    rays = 0
    for sensor in root.iterfind("sensor/rangefinder"):
        across, down = ([*cameras.get(sensor.get("camera"), "1 1").split(), "1", "1"])[:2]
        rays += _whole(across) * _whole(down)
    yield f"{frame_skip} physics steps of {rays} rays among {geoms} geoms", frame_skip * rays * geoms * 10
    yield "ranges of its muscles, once", _range_steps(root) * (free**2 + _CONTACTS * geoms)


def _range_steps(root: ET.Element) -> int:
    """Physics steps with which the compiler looks for the length ranges of actuators that state none."""
    actuators = [actuator for actuator in root.iterfind("actuator/*") if "lengthrange" not in actuator.attrib]
    muscles = [actuator for actuator in actuators if "muscle" in (actuator.tag, *actuator.attrib.values())]
    stated = root.findall(".//lengthrange")
    seconds = max([float(element.get("inttotal", "10")) for element in stated], default=10.0)
    step = min([float(element.get("timestep", "0.01")) for element in stated], default=0.01)
    return int(2 * len(actuators if stated else muscles) * seconds / step)


def _integer(element: ET.Element, name: str, usual: int) -> int:
    return _whole(element.get(name, str(usual)))


def _whole(word: str) -> int:
    try:
        return max(0, int(float(word)))
    except ValueError:
        return 0  # a keyword, which MuJoCo refuses


def _where(element: ET.Element, number: int) -> str:
    return f"<{element.tag} {brief(element.get('name') or number)}>"
