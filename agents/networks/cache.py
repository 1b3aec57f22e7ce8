"""What attention remembers of past steps: entries [B, L, ...] that grow in L to `window` - 1, and who may read them.

Of row b the last `known[b]` entries are its own; a memory cleared in that row knows none, whatever L is. The present
step is read too, so that no row of a mask is empty (torch would read NaN or zeros there, by its mode).
"""

import torch
from torch import Tensor
from torch.nn import functional


def extended(entries: Tensor, new: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """`entries` [B, L, ...] with those of the present step [B, 1, ...], and which of them the next step finds."""
    whole = torch.cat([entries, new], 1)
    return whole, whole[:, max(0, whole.shape[1] - window + 1) :]


def ages(length: int, device: torch.device) -> Tensor:
    """[L + 1] how many steps ago each of `length` entries and the present one was: L, ..., 1, 0."""
    return torch.arange(length, -1, -1, device=device)


def seen_by_step(length: int, known: Tensor) -> Tensor:
    """[B, 1, L + 1] which of `length` entries and the present one a step reads, of which [B] are known."""
    return (ages(length, known.device) <= known[:, None])[:, None]


def seen_by_sequence(steps: int, length: int, window: int, known: Tensor, restart: Tensor | None) -> Tensor | None:
    """[B, T, L + T] which of `length` entries and its own steps each of T steps reads; None where that is all before.

    A step reads `window` steps back, of the entries those that are `known` [B], and nothing from before a `restart`
    [T, B] between.
    """
    if not length and restart is None and steps <= window:
        return None
    time = torch.arange(-length, steps, device=known.device)
    distance = time[length:, None] - time
    seen = (distance >= 0) & (distance < window) & (time >= -known[:, None])[:, None]
    if restart is not None:
        segment = functional.pad(restart.t().cumsum(1), (length, 0))
        seen = seen & (segment[:, length:, None] == segment[:, None, :])
    return seen


def attend(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None) -> Tensor:
    """[B, T, H, V] read by queries [B, T, H, K] from keys [B, S, H, K] and values; `seen` [B, T, S], None: causally."""
    parts = (part.transpose(1, 2) for part in (query, key, value))
    mask = None if seen is None else seen[:, None]
    return functional.scaled_dot_product_attention(*parts, attn_mask=mask, is_causal=mask is None).transpose(1, 2)
