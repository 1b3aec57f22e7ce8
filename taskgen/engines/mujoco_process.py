"""What MuJoCo does to the process it runs in: logs, a clock, threads."""

import ctypes
import os
import sys
from contextlib import suppress

import mujoco
from mujoco import _callbacks

from registry.config import stated

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

THREADS_VARIABLE = "TASKGEN_THREADS"


def quiet() -> None:
    """Keep MuJoCo, in this process, from what costs time or leaves traces.

    It prints no warnings and writes no MUJOCO_LOG.TXT; faults are recorded instead. Nor does it time itself into
    `mjData.timer`, which MuJoCo's Python package, unlike its C library, does by default, at a fifth of a step of
    half-cheetah; `mujoco.set_mjcb_time(None)` switches that on again.
    """
    config = mujoco.MjLogConfig.get()
    config.logto_file = config.logto_console = False
    config.set()
    if mujoco.get_mjcb_time() is None:  # not a clock that somebody chose
        with suppress(OSError, ValueError):  # a system on which the variable cannot be reached: slower, no more
            library = ctypes.CDLL(_callbacks.__file__)
            ctypes.c_void_p.in_dll(library, "mjcb_time").value = None


def default_threads() -> int:
    """Threads of a batch that was not told how many. Raises `ConfigError` for a TASKGEN_THREADS that is no number."""
    own = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return stated(THREADS_VARIABLE, own)
