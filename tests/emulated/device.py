"""A device that stands in for a GPU: its tensors compute on the CPU and refuse what CUDA would refuse.

    device.install()                       # once a process, and for good: see below
    tensor = torch.zeros(3, device="emulated")
    with device.watched() as ledger:
        tensor.sum().item()
    ledger.syncs                           # {("_local_scalar_dense", "…/file.py:12"): 1}

* Operands on different devices raise `RuntimeError`, as do generators of another device than the numbers they give.
* Conversion to NumPy raises `TypeError`.
* What makes the host wait for the device (a value looked at, a shape that depends on values, a copy to the host) is
  counted as a sync; what is copied from the host to the device as an upload; both with the line that asked for it.

Numbers are those of the CPU, bit for bit, and so are random ones. Not covered: real kernels and their rounding, memory,
streams, cuDNN (recurrent layers are replaced by cells), autocast, CUDA graphs, several cards.

`install` replaces `torch.Generator` and the recurrent layers' forward passes, so it belongs in a process of its own:
`test_emulated_device.py` starts one for every file `check_*.py` here.

With TASKGEN_TESTS_DEVICE=cuda in the environment the checks are made of a card instead, where `install` does nothing
and syncs are those that torch warns of; uploads are not counted there.
"""

import os
import sys
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

VARIABLE = "TASKGEN_TESTS_DEVICE"
NAME = os.environ.get(VARIABLE, "emulated")
REAL = NAME != "emulated"

_COPIES = {"_to_copy", "copy_", "_copy_from", "lift", "lift_fresh"}
_SAME_DEVICE = {  # where CUDA takes not even a scalar that lies on the host
    *("gather", "scatter", "scatter_", "scatter_add", "scatter_add_", "index_select", "index_add", "index_add_"),
    *("index_copy", "index_copy_", "index_fill", "index_fill_", "embedding", "masked_select", "cat", "stack"),
    *("mm", "addmm", "bmm", "baddbmm", "mv", "dot"),
}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_LOOKS = {  # whose result, or the shape of it, the host needs to know
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim"),
    *("unique_consecutive", "bincount", "multinomial", "_linalg_check_errors"),
}


@dataclass
class Ledger:
    """What a stretch of code asked of the device, by what was done and the line that did it ("file:line")."""

    syncs: Counter[tuple[str, str]] = field(default_factory=Counter)
    uploads: Counter[tuple[str, str]] = field(default_factory=Counter)

    def clear(self) -> None:
        """Forget everything."""
        self.syncs.clear()
        self.uploads.clear()


_LEDGERS: list[Ledger] = []


@contextmanager
def watched() -> Iterator[Ledger]:
    """Count syncs and uploads of what happens inside."""
    ledger = Ledger()
    if REAL:
        with _warned(ledger):
            yield ledger
        return
    _LEDGERS.append(ledger)
    try:
        yield ledger
    finally:
        _LEDGERS.remove(ledger)


@contextmanager
def _warned(ledger: Ledger) -> Iterator[None]:
    """Count as syncs, once what happens inside is over, what torch says of the card."""
    if torch.device(NAME).type != "cuda":
        yield
        return
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    for warning in said:
        if "synchroniz" in str(warning.message):
            ledger.syncs["sync", f"{warning.filename}:{warning.lineno}"] += 1


def _count(kind: str, what: str) -> None:
    line = _line()
    for ledger in _LEDGERS:
        getattr(ledger, kind)[what, line] += 1


def _line() -> str:
    """The innermost line outside of torch and of this file."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if "site-packages" not in name and name != __file__ and not name.startswith("<"):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


class EmulatedTensor(Tensor):
    """A tensor that says it lies on the device; `host` holds its values."""

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor) -> Self:
        wrapper = Tensor._make_wrapper_subclass(
            cls, host.size(), strides=host.stride(), dtype=host.dtype, layout=host.layout, device=f"{NAME}:0"
        )
        wrapper.host = host
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        _count("syncs", "tolist")
        return self.host.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy: copy it to the host first, at {_line()}")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def __repr__(self, **_: Any) -> str:
        return f"{NAME}({self.host!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "EmulatedTensor":
        with torch.no_grad():
            copy = self.detach().clone().requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            copy._is_param = True
        return copy


class Emulator(TorchDispatchMode):
    """While it is on, tensors can be made on the device."""

    def __init__(self) -> None:
        super().__init__()
        # As of fake tensors: under it `torch.tensor(..., device=...)` makes a host tensor and copies it.
        self._mode_key = torch._C._TorchDispatchModeKey.FAKE

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Operands:
    """The tensors and generators among the arguments of an operation."""

    def __init__(self) -> None:
        self.mine: list[EmulatedTensor] = []
        self.hosts: list[Tensor] = []
        self.generators: list[Any] = []

    def on_host(self, value: Any) -> Any:
        """`value`, an argument or a tree of them, with what `EmulatedTensor`s hold in their place."""
        kind = type(value)
        if kind is EmulatedTensor:
            self.mine.append(value)
            return value.host
        if kind in _PLAIN:
            return value
        if kind in (list, tuple):
            return kind([self.on_host(part) for part in value])
        if isinstance(value, Tensor):
            self.hosts.append(value)
        elif isinstance(value, torch._C.Generator):
            self.generators.append(value)
        return value


_PLAIN = {int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format}


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One operation: refuse what CUDA refuses, count what waits, compute on the host."""
    operands = _Operands()
    host_args, host_kwargs = operands.on_host(args), {key: operands.on_host(value) for key, value in kwargs.items()}
    mine, hosts = operands.mine, operands.hosts
    name, wanted = func.overloadpacket.__name__, kwargs.get("device")
    if name == "copy_":
        here = isinstance(args[0], EmulatedTensor)
    else:
        here = bool(mine) if wanted is None else torch.device(wanted).type == NAME
    if mine and hosts:
        _refuse_mixed(name, args, hosts)
    _refuse_generators(operands.generators, here=here, name=name)
    if mine:
        _count_syncs(name, args, here=here)
    if hosts and here and name in _COPIES:
        _count("uploads", name)
    if wanted is not None:
        host_kwargs["device"] = torch.device("cpu") if here else wanted
    result = func(*host_args, **host_kwargs)
    if torch.Tag.inplace_view in func.tags:  # such as `squeeze_`: what the wrapper says of its shape changes too
        with no_dispatch():
            func(*args, **kwargs)
    if name == "_to_copy" and here is not bool(mine):
        result = result.clone()  # a copy to or from the host, which on one device would be none
    return _wrapped(result, mine) if here else result


def _wrapped(value: Any, mine: Sequence["EmulatedTensor"]) -> Any:
    """`value` on the device; what an operation worked on in place stays the tensor that it was."""
    if type(value) in (list, tuple):
        return type(value)([_wrapped(part, mine) for part in value])
    if not isinstance(value, Tensor) or type(value) is EmulatedTensor:
        return value
    for tensor in mine:
        if tensor.host is value:
            if tensor.shape != value.shape:
                raise NotImplementedError(f"a tensor of the emulated device cannot be resized in place, at {_line()}")
            return tensor
    return EmulatedTensor(value)


def _refuse_mixed(name: str, args: Sequence[Any], hosts: Sequence[Tensor]) -> None:
    """Raise `RuntimeError` for host tensors where CUDA takes none. Scalars it takes, and indices, which it copies."""
    if name in _COPIES:
        return
    bad = list(hosts) if name in _SAME_DEVICE else [tensor for tensor in hosts if tensor.dim() > 0]
    if name in _INDEXING:
        if bad:
            _count("uploads", "index")
        beside = [args[0], *args[2:3]]  # what is indexed, and what is put there
        bad = [tensor for tensor in bad if any(tensor is other for other in beside)]
        if not isinstance(args[0], EmulatedTensor):
            bad = [args[0]]
    if bad:
        shapes = [tuple(tensor.shape) for tensor in bad]
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found {NAME}:0 and cpu ({name}, shapes on the cpu "
            f"{shapes}), at {_line()}"
        )


def _refuse_generators(generators: Sequence[Any], *, here: bool, name: str) -> None:
    for generator in generators:
        if (generator._cdata in _GENERATORS) != here:
            wanted, found = (NAME, "cpu") if here else ("cpu", NAME)
            raise RuntimeError(f"Expected a generator of {wanted} but found one of {found} ({name}), at {_line()}")


def _count_syncs(name: str, args: Sequence[Any], *, here: bool) -> None:
    if name in _LOOKS:
        _count("syncs", name)
    elif name in _COPIES and not here:
        _count("syncs", "copy to the host")
    elif name in _INDEXING and any(_is_mask(index) for index in args[1]) and not _fills(args):
        _count("syncs", "index by a mask")
    elif name == "repeat_interleave" and len(args) == 1:
        _count("syncs", name)


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def _fills(args: Sequence[Any]) -> bool:
    """Whether one value is put wherever a mask is true, which needs no look at the mask."""
    return len(args) > 2 and len(args[1]) == 1 and args[2].numel() == 1 and not any(args[3:4])


_GENERATORS: set[int] = set()
"""Those of the device, by the address of what torch hands on."""


class Generator(torch._C.Generator):
    """`torch.Generator` with a device that may be the emulated one; its numbers are those of the CPU."""

    def __new__(cls, device: Any = "cpu") -> Self:
        return super().__new__(cls, "cpu")

    def __init__(self, device: Any = "cpu") -> None:
        self._device = torch.device(device)
        _GENERATORS.discard(self._cdata)
        if self._device.type == NAME:
            _GENERATORS.add(self._cdata)
            weakref.finalize(self, _GENERATORS.discard, self._cdata)

    @property
    def device(self) -> torch.device:
        return self._device

    def manual_seed(self, seed: int) -> "Generator":
        super().manual_seed(seed)
        return self

    def set_state(self, state: Tensor) -> "Generator":
        if isinstance(state, EmulatedTensor):
            raise TypeError("RNG state must be a torch.ByteTensor on the host")
        super().set_state(state)
        return self


def _gru_cell(x: Tensor, h: Tensor, w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor) -> Tensor:
    of_input, of_hidden = (x @ w_x.t() + b_x).chunk(3, -1), (h @ w_h.t() + b_h).chunk(3, -1)
    reset, update = ((of_input[i] + of_hidden[i]).sigmoid() for i in (0, 1))
    new = (of_input[2] + reset * of_hidden[2]).tanh()
    return new + update * (h - new)


def _lstm_cell(
    x: Tensor, state: Sequence[Tensor], w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor
) -> tuple[Tensor, Tensor]:
    hidden, cell = state
    enter, forget, new, leave = (x @ w_x.t() + b_x + hidden @ w_h.t() + b_h).chunk(4, -1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def _gru(self: nn.GRU, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """One layer, one direction, time first, as the agents use it."""
    h, rows = hidden[0], list[Tensor]()
    for row in x:
        h = _gru_cell(row, h, *self.all_weights[0])
        rows.append(h)
    return torch.stack(rows), h[None]


def _lstm(self: nn.LSTM, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    h, c = state[0][0], state[1][0]
    rows = list[Tensor]()
    for row in x:
        h, c = _lstm_cell(row, (h, c), *self.all_weights[0])
        rows.append(h)
    return torch.stack(rows), (h[None], c[None])


def _nothing(self: nn.RNNBase) -> None:
    """Weights need not lie in one piece."""


def install() -> None:
    """Make the device known to this process, for good; a second call does nothing."""
    if REAL or torch.Generator is Generator:
        return
    _setup_privateuseone_for_python_backend(NAME)
    replaced: list[tuple[Any, str, Callable[..., Any]]] = [
        (torch, "Generator", Generator),
        (torch, "gru_cell", _gru_cell),
        (torch, "lstm_cell", _lstm_cell),
        (nn.GRU, "forward", _gru),
        (nn.LSTM, "forward", _lstm),
        (nn.RNNBase, "flatten_parameters", _nothing),
    ]
    for owner, name, value in replaced:
        setattr(owner, name, value)
    # Asked of a device's module by `torch.autocast`, which stays off here.
    torch.get_device_module(NAME).get_amp_supported_dtype = lambda: [torch.bfloat16]
    torch._C._ensureCUDADeviceGuardSet()
    torch._C._set_only_lift_cpu_tensors(True)
    Emulator().__enter__()
