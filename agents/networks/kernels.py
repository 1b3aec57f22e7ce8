"""`kernels.c`: networks over whole sequences and losses, forwards and backwards in a call each, where a C compiler is.

It is compiled when it is first needed, which takes seconds, into the user's cache (`XDG_CACHE_HOME`, else `~/.cache`),
by `cc` or what the environment variable CC names. A library there is of one source, compiler and processor, and is
loaded if its content has the hash in its name and nobody else could have written it. Where it cannot be had, and for
tensors that are not plain float32 on the CPU, networks are computed by torch's own operations: the same numbers up to
rounding.

The environment variable TASKGEN_KERNELS says otherwise: `torch` does without, `compiled` fails where there are none.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from logging import getLogger
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd import forward_ad

from registry.errors import UserError
from taskgen.files import sync_directory

VARIABLE = "TASKGEN_KERNELS"
SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")
LIBRARIES = ("-lm",)
PATIENCE = 600
"""Seconds that the compiler may take; it needs one or two."""
_log = getLogger(__name__)


_TAKES = {
    "gru_forward": "llll ppppppp pppp",
    "gru_backward": "llll pppppp pp l ppppp",
    "narrow_forward": "lll ppp pp",
    "narrow_backward": "lll ppp ppp",
    "fast_weights_forward": "lllll pppp ppp",
    "fast_weights_backward": "lllll pppp pp pppp",
    "ppo_forward": "ll d ppppppp pp",
    "ppo_backward": "ll d ppppppp pp pp",
    "meet": "lll p",
}
"""The arguments of functions: `long`, `double`, a place."""
_KINDS = {"l": ctypes.c_long, "d": ctypes.c_double, "p": ctypes.c_void_p}


class Kernels:
    """The functions of `kernels.c`."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        for name, takes in _TAKES.items():
            getattr(self._library, name).argtypes = [_KINDS[kind] for kind in takes.replace(" ", "")]
        self.lanes: int = self._library.lanes()
        """Numbers in a vector of this processor."""

    def padded(self, size: int) -> int:
        """`size` up to whole vectors."""
        return -(-size // self.lanes) * self.lanes

    def call(self, name: str, *arguments: Tensor | float | None) -> int:
        """Call a function with numbers and the places of contiguous tensors; what it returns, if it does."""
        return getattr(self._library, name)(
            *[_place(value) if isinstance(value, Tensor) else value for value in arguments]
        )


def _place(value: Tensor) -> int:
    if not value.is_contiguous():
        raise ValueError(f"a tensor {list(value.shape)} with strides {value.stride()} given to a kernel")
    return value.data_ptr()


def kernels_for(*tensors: Tensor) -> Kernels | None:
    """The kernels, if they can compute with `tensors` as they are now used; `None` leaves it to torch."""
    for tensor in tensors:
        plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
        if not plain or not tensor.is_cpu or tensor.dtype is not torch.float32 or not tensor.numel():
            return None
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    pushed = forward_ad._current_level >= 0  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if traced or pushed or torch.is_autocast_enabled("cpu"):
        return None
    if torch._C._are_functorch_transforms_active():  # noqa: SLF001 - as torch.autograd.Function asks
        return None
    return _kernels(_wish())


def left_to_torch(slopes: Sequence[Tensor]) -> bool:
    """Whether gradients are asked for that a kernel cannot give: to be differentiated, or by many slopes in one."""
    return torch.is_grad_enabled() or not all(torch._C._has_storage(slope) for slope in slopes)  # noqa: SLF001


def gradients(
    compute: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Sequence[Tensor],
    asked: Sequence[bool],
    slopes: Sequence[Tensor],
) -> list[Tensor | None]:
    """Of what torch's operations `compute` of `inputs`, by those that are `asked` for, with gradients if need be.

    By views: of inputs that are made of each other, each is asked what comes of it directly, as a backward is.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        views = [tensor.view_as(tensor) for tensor in inputs]
        wanted = [view for view, one in zip(views, asked, strict=True) if one]
        found = iter(torch.autograd.grad(compute(*views), wanted, slopes, create_graph=again))
    return [next(found) if one else None for one in asked]


def told() -> str:
    """How networks are computed in this process: by kernels, or why not. Builds them where they are missing."""
    if _wish() == "torch":
        return f"by torch, as {VARIABLE} says"
    found = _found()
    return f"by {found}" if isinstance(found, str) else f"by kernels, {found.lanes} numbers at once"


def _wish() -> str:
    """What the environment variable says. Raises `UserError` where that is nothing known."""
    wish = os.environ.get(VARIABLE, "")
    if wish not in ("", "torch", "compiled"):
        raise UserError(f"{VARIABLE}={wish}: it is torch or compiled, or left out, for kernels where they can be had")
    return wish


@cache
def _kernels(wish: str) -> Kernels | None:
    """By what the environment variable says. Raises `UserError` where that cannot be followed."""
    if wish == "torch":
        return None
    found = _found()
    if not isinstance(found, str):
        return found
    if wish == "compiled":
        raise UserError(f"{VARIABLE}=compiled, but networks are computed by {found}")
    _log.warning("networks are computed by %s; results are the same up to rounding", found)
    return None


@cache
def _found() -> Kernels | str:
    """The kernels of this machine, built if need be, or why there are none."""
    slower = "torch's own operations, which takes longer:"
    command = shlex.split(os.environ.get("CC", "cc"))
    compiler = shutil.which(command[0]) if command else None
    if compiler is None:
        return f"{slower} there is no C compiler {command[0] if command else ''}; install one, or name one in CC"
    try:
        folder = _folder()
        name = f"kernels-{_key(compiler, command[1:])}"
        for library in folder.glob(f"{name}-*.so"):
            if library.stem == f"{name}-{_digest(library.read_bytes())}":
                return Kernels(library)
        return Kernels(_built([compiler, *command[1:]], folder, name))
    except subprocess.CalledProcessError as error:
        return f"{slower} {shlex.join(command)} failed on {SOURCE.name}: {error.stderr.strip()[-500:]}"
    except (OSError, subprocess.SubprocessError) as error:
        return f"{slower} {error}"


def _folder() -> Path:
    """Where libraries are kept. Raises `OSError` where it cannot be made, or where others may write."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "taskgen-metarl"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    if state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise PermissionError(f"{folder} may be written to by others: libraries are not loaded from there")
    return folder


def _key(compiler: str, options: list[str]) -> str:
    """Of one source, compiler and processor."""
    file = Path(compiler).resolve()
    state = file.stat()
    information = Path("/proc/cpuinfo")
    processor = information.read_text().split("\n\n", 1)[0].splitlines() if information.is_file() else []
    told = [line for line in processor if line.startswith(("vendor_id", "cpu family", "model", "flags", "Features"))]
    parts = [SOURCE.read_text(), str(file), f"{state.st_size} {state.st_mtime_ns}", *options, *FLAGS]
    return _digest("\0".join([*parts, platform.machine(), platform.processor(), *told]).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _built(command: list[str], folder: Path, name: str) -> Path:
    """The library, compiled. Raises `CalledProcessError`, `TimeoutExpired` or `OSError` where that fails."""
    handle, staging = tempfile.mkstemp(prefix=f".{name}-", suffix=".so", dir=folder)
    os.close(handle)
    try:
        arguments = [*command, *FLAGS, str(SOURCE), *LIBRARIES, "-o", staging]
        subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=PATIENCE)  # noqa: S603 - no shell
        library = folder / f"{name}-{_digest(Path(staging).read_bytes())}.so"
        Path(staging).replace(library)
        sync_directory(folder)
    finally:
        Path(staging).unlink(missing_ok=True)
    return library
