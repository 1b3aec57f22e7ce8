"""Counter-based noise: uniforms that are a pure function of a key and a counter.

Every episode in a slot owns a SplitMix64 sequence (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators"): its n-th output is the finaliser of `key + n * golden ratio`. So a slot's randomness never depends on the
other slots, on how many there are, or on the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_FIRST = -4658895280553007687  # 0xBF58476D1CE4E5B9
_SECOND = -7723592293110705685  # 0x94D049BB133111EB


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's own is arithmetic)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _finalise(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def keys(seeds: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """[B] int64 keys from integer seeds 0 <= seed < 2**63. Neighbouring seeds give unrelated sequences."""
    return _finalise(torch.tensor(seeds, dtype=torch.int64, device=device) + _GOLDEN)


def child(key: Tensor, index: Tensor | int) -> Tensor:
    """[B] int64 keys of the sequences number `index` below `key`: the episodes of a slot."""
    return _finalise((key ^ _FIRST) + index * _SECOND)


def uniforms(key: Tensor, counter: Tensor, width: int) -> Tensor:
    """Uniforms in the open interval (0, 1), [B, width] float32 with 23 random bits each.

    `key` and `counter` [B] int64. Different counters use disjoint parts of the sequence of a key.
    """
    column = torch.arange(1, width + 1, device=key.device)
    index = counter[:, None] * width + column
    bits = _shift(_finalise(key[:, None] + index * _GOLDEN), 41)
    return (bits.to(torch.float32) + 0.5) * 2.0**-23


def uniforms64(key: Tensor, width: int) -> Tensor:
    """The first `width` uniforms of each sequence, [B, width] float64 with 52 random bits: for the tables of a task."""
    bits = _shift(_finalise(key[:, None] + torch.arange(1, width + 1, device=key.device) * _GOLDEN), 12)
    return (bits.to(torch.float64) + 0.5) * 2.0**-52
