"""Counter-based noise: uniforms that are a pure function of a key and a counter.

Every episode in a slot owns a SplitMix64 sequence (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators"): its n-th output is the finaliser of `key + n * golden ratio`. So a slot's randomness never depends on the
other slots, on how many there are, or on the device.

On a CPU the same integers are computed by NumPy: it shifts unsigned, and one operation on a small batch costs it a
third of what it costs torch.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_Bits: TypeAlias = NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB

# Making a NumPy scalar costs as much as using it.
_U_FIRST, _U_SECOND = np.uint64(_FIRST), np.uint64(_SECOND)
_U_12, _U_27, _U_30, _U_31, _U_41 = (np.uint64(bits) for bits in (12, 27, 30, 31, 41))
_HALF, _UNIT = np.float32(0.5), np.float32(2.0**-23)


def keys(seeds: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """[B] int64 keys from integer seeds 0 <= seed < 2**64. Neighbouring seeds give unrelated sequences."""
    return _tensor(_finalise_bits(np.array(seeds, dtype=np.uint64) + np.uint64(_GOLDEN))).to(device)


def child(key: Tensor, index: Tensor | int) -> Tensor:
    """[B] int64 keys of the sequences number `index` below `key`: the episodes of a slot."""
    if key.device.type == "cpu":
        place = _bits(index) * _U_SECOND if isinstance(index, Tensor) else np.uint64(index * _SECOND % 2**64)
        return _tensor(_finalise_bits((_bits(key) ^ _U_FIRST) + place))
    return traced_child(key, index)


def episode_seeds(seeds: Sequence[int], episodes: Sequence[int]) -> list[int]:
    """The seed of which the first episode is episode number `episodes[j]` of `seeds[i]`, [i, j] flattened.

    So episodes that are played in slots of their own meet the noise they would meet one after another in one slot:
    `child(keys([episode_seeds([s], [k])[0]]), 0)` is `child(keys([s]), k)`. Episode 0 gives the seed itself.
    """
    place = np.array(episodes, dtype=np.uint64) * _U_SECOND
    key = ((_bits(keys(seeds))[:, None] ^ _U_FIRST) + place) ^ _U_FIRST
    return (_unfinalise_bits(key) - np.uint64(_GOLDEN)).flatten().tolist()


def traced_child(key: Tensor, index: Tensor | int) -> Tensor:
    """See `child`, whose [B] int64 these are, but in torch alone: for what is compiled or captured, on every device."""
    if isinstance(index, Tensor):
        place: Tensor | int = index * _signed(_SECOND)
    else:  # a Python integer does not wrap around by itself
        place = (index * _SECOND + 2**63) % 2**64 - 2**63
    return _finalise((key ^ _signed(_FIRST)) + place)


def uniforms(key: Tensor, counter: Tensor, width: int, steps: int = 1) -> Tensor:
    """Uniforms in the open interval (0, 1), [steps, B, width] float32 with 23 random bits each.

    `key` and `counter` [B] int64. Row t belongs to `counter + t`; different counters use disjoint parts of the sequence
    of a key.
    """
    if key.device.type == "cpu":
        columns, stride = _columns(width, steps)
        bits = _bits(counter) * stride
        bits += _bits(key)
        bits = _finalise_bits(bits[:, None] + columns)
        bits >>= _U_41
        values = bits.astype(np.float32)
        values += _HALF
        values *= _UNIT
        return _tensor(values)
    return traced_uniforms(key, counter, width, steps)


def traced_uniforms(key: Tensor, counter: Tensor, width: int, steps: int = 1) -> Tensor:
    """See `uniforms`, whose [steps, B, width] these are, but in torch alone: for what is compiled or captured."""
    column = torch.arange(1, steps * width + 1, device=key.device).view(steps, 1, width)
    index = counter[:, None] * width + column
    output = _shift(_finalise(key[:, None] + index * _signed(_GOLDEN)), 41)
    return (output.to(torch.float32) + 0.5) * 2.0**-23


def uniforms64(key: Tensor, width: int) -> Tensor:
    """The first `width` uniforms of each sequence, [B, width] float64 with 52 random bits: for the tables of a task.

    `key` is on a CPU.
    """
    columns, _ = _columns(width, 1)
    bits = _finalise_bits(_bits(key)[:, None] + columns[0]) >> _U_12
    return _tensor((bits.astype(np.float64) + 0.5) * 2.0**-52)


def _finalise(x: Tensor) -> Tensor:
    """SplitMix64's finaliser of int64 bit patterns."""
    x = (x ^ _shift(x, 30)) * _signed(_FIRST)
    x = (x ^ _shift(x, 27)) * _signed(_SECOND)
    return x ^ _shift(x, 31)


def _finalise_bits(x: _Bits) -> _Bits:
    """The same in NumPy, in place."""
    x ^= x >> _U_30
    x *= _U_FIRST
    x ^= x >> _U_27
    x *= _U_SECOND
    x ^= x >> _U_31
    return x


def _unfinalise_bits(x: _Bits) -> _Bits:
    """The inverse of `_finalise_bits`: each of its steps is a bijection of 64 bits."""
    x = x ^ (x >> _U_31) ^ (x >> np.uint64(62))
    x = x * np.uint64(pow(_SECOND, -1, 2**64))
    x = x ^ (x >> _U_27) ^ (x >> np.uint64(54))
    x = x * np.uint64(pow(_FIRST, -1, 2**64))
    return x ^ (x >> _U_30) ^ (x >> np.uint64(60))


@lru_cache(maxsize=64)
def _columns(width: int, steps: int) -> tuple[_Bits, np.uint64]:
    """What steps and columns add to a key, [steps, 1, width], and what one more of the counter adds."""
    columns = np.arange(1, steps * width + 1, dtype=np.uint64).reshape(steps, 1, width) * np.uint64(_GOLDEN)
    columns.flags.writeable = False
    return columns, np.uint64(width * _GOLDEN % 2**64)


def _bits(x: Tensor) -> _Bits:
    return x.numpy().view(np.uint64)


def _tensor(x: NDArray[Any]) -> Tensor:
    """A tensor over the memory of `x`; unsigned integers as the same bits signed."""
    values = x.view(np.int64) if x.dtype == np.uint64 else x
    return torch.from_numpy(values)  # pyright: ignore[reportUnknownMemberType]


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's own is arithmetic)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(x: int) -> int:
    """The 64-bit pattern as a signed integer, which is what torch multiplies by."""
    return x - 2**64
