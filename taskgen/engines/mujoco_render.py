"""RGB frames of MuJoCo tasks, without a display where there is none."""

import atexit
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import mujoco
import numpy as np
from mujoco.rendering.classic import gl_context
from numpy.typing import NDArray

from taskgen.engines.mujoco_process import quiet

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

_STUDIOS = 4  # models whose renderers are kept


@dataclass(frozen=True, slots=True)
class Marker:
    """A sphere drawn into a frame, such as a goal."""

    position: tuple[float, float, float]
    """Metres, in world coordinates."""
    radius: float = 0.15
    colour: tuple[float, float, float] = (0.1, 0.8, 0.2)


@cache
def can_render() -> bool:
    """Whether this machine has an OpenGL that MuJoCo can use."""
    _choose_backend()
    try:
        context = gl_context.GLContext(8, 8)
    except (ImportError, AttributeError, RuntimeError, mujoco.FatalError):
        return False
    context.free()
    return True


def picture(
    model: Any,
    state: NDArray[np.float64],
    markers: Sequence[Marker] = (),
    *,
    width: int = 320,
    height: int = 240,
    camera: int | None = None,
) -> NDArray[np.uint8]:
    """RGB [height, width, 3] of `model`, which stays as it is, in `state` (`mjSTATE_INTEGRATION`).

    `camera` is the model's camera of that number; by default the first one that follows a body, else a free one that
    looks at the middle of the model.
    """
    following = np.flatnonzero(model.cam_mode != mujoco.mjtCamLight.mjCAMLIGHT_FIXED)
    if camera is None:
        camera = int(following[0]) if len(following) else -1
    renderer, data = _studio(model, width, height, os.getpid(), threading.get_ident())
    mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(model, data)
    renderer.update_scene(data, camera)
    for marker in markers:
        _mark(renderer.scene, marker)
    return np.array(renderer.render(), dtype=np.uint8)


@lru_cache(maxsize=_STUDIOS)
def _studio(model: Any, width: int, height: int, process: int, thread: int) -> tuple[Any, Any]:  # noqa: ARG001
    """A renderer and data of `model`, kept for its next frame: to make one takes as long as dozens of frames.

    OpenGL contexts belong to the thread and process that made them.
    """
    quiet()
    _choose_backend()
    return mujoco.Renderer(model, height, width), mujoco.MjData(model)


atexit.register(_studio.cache_clear)  # while OpenGL is still there to free them


def _mark(scene: Any, marker: Marker) -> None:
    mujoco.mjv_initGeom(
        scene.geoms[scene.ngeom],
        mujoco.mjtGeom.mjGEOM_SPHERE,
        np.full(3, marker.radius),
        np.array(marker.position),
        np.eye(3).ravel(),
        np.array([*marker.colour, 1.0], dtype=np.float32),
    )
    scene.ngeom += 1


def _choose_backend() -> None:
    """EGL where there is no display and nobody chose otherwise; MuJoCo itself looks only when it is first imported."""
    if sys.platform == "linux" and not any(
        os.environ.get(name) for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")
    ):
        os.environ["MUJOCO_GL"] = "egl"
        try:
            from mujoco.egl import GLContext
        except (ImportError, AttributeError):
            return
        gl_context.GLContext = GLContext
