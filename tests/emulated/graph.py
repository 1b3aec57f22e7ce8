"""CUDA graphs, emulated: what is captured is done again on the same tensors, whatever Python would do by then.

A replay makes every captured operation anew on the tensors that it read and writes the outcome into the tensors that it
made, as the kernels of a graph do on their memory. What Python decided in between is not looked at again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.emulated.device import REAL, EmulatedTensor


class Graph:
    """In place of `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def replay(self) -> None:
        for func, args, kwargs, made in self.operations:
            again = [value for value in tree_leaves(func(*args, **kwargs)) if isinstance(value, Tensor)]
            for old, new in zip(made, again, strict=True):
                if _memory(old) != _memory(new):
                    old.copy_(new)


class _Capture(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [value for value in tree_leaves(result) if isinstance(value, Tensor)]
        self._graph.operations.append((func, args, kwargs or {}, made))
        return result


class _Stream:
    def __init__(self, *_: Any) -> None:
        pass

    def wait_stream(self, other: "_Stream") -> None:
        pass


@contextmanager
def _captured(graph: Graph) -> Iterator[None]:
    with _Capture(graph):
        yield


@contextmanager
def _on(stream: _Stream) -> Iterator[None]:
    yield


def _memory(tensor: Tensor) -> int:
    host = tensor.host if isinstance(tensor, EmulatedTensor) else tensor
    return host.untyped_storage().data_ptr()


def emulate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `Graph` in the place of CUDA's graphs and streams for the length of a test, but on a card."""
    if REAL:
        return
    for name, value in {
        "CUDAGraph": Graph,
        "graph": _captured,
        "Stream": _Stream,
        "stream": _on,
        "current_stream": _Stream,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
