"""The 50 nearest of 100,000 keys of 64 numbers: the agents' exact neighbours against faiss' flat index.

    python -m benchmarks.nearest        about a minute; nothing else should run beside it; needs faiss-cpu

Both get float32 keys and queries, take turns on one thread, and must name the same neighbours. Ratios are medians over
turns of the ratio within a turn, with their range.
"""

import time
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.common.nearest import nearest
from benchmarks.harness import Row, record, row

KEYS, WIDTH, COUNT = 100_000, 64, 50
TARGETS = {1: ">= 1", 256: ">= 2"}
"""By queries at once."""
TURNS = 9
SOURCE = "design of the episodic memories"


def compare(index: Any, keys: torch.Tensor, queries: torch.Tensor) -> tuple[NDArray[np.float64], float]:
    """[TURNS] faiss' time over ours, and the share of neighbours that both name."""
    held, squares = torch.ones(len(keys), dtype=torch.bool), keys.square().sum(1)
    measured = np.zeros((TURNS + 1, 2))
    ours, theirs = torch.empty(0), np.empty(0)
    for turn in range(TURNS + 1):
        started = time.perf_counter()
        ours = nearest(queries, keys, held, COUNT, squares).place
        between = time.perf_counter()
        theirs = index.search(queries.numpy(), COUNT)[1]
        measured[turn] = between - started, time.perf_counter() - between
    same = np.mean([len(np.intersect1d(*pair)) / COUNT for pair in zip(ours.numpy(), theirs, strict=True)])
    return measured[1:, 1] / measured[1:, 0], float(same)


def main() -> None:
    """Measure and record; without faiss say so."""
    if find_spec("faiss") is None:
        raise SystemExit("benchmarks.nearest compares with faiss, which is not installed: pip install faiss-cpu")
    import faiss  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(KEYS, WIDTH, generator=generator)
    index = faiss.IndexFlatL2(WIDTH)
    index.add(keys.numpy())
    rows: list[Row] = []
    for count, target in TARGETS.items():
        ratio, same = compare(index, keys, torch.randn(count, WIDTH, generator=generator))
        what = f"{COUNT} nearest of {KEYS:,} keys, {count} at once"
        low, middle, high = float(ratio.min()), float(np.median(ratio)), float(ratio.max())
        rows.append(row(f"{what}: times the speed of faiss' flat index", middle, low, high, target, SOURCE))
        rows.append(row(f"{what}: share of the neighbours that both name", same, target=">= 0.999", source=SOURCE))
        print(f"{what}: {middle:.2f} ({low:.2f} to {high:.2f}) times, {same:.4f} the same", flush=True)
    record("nearest", rows, [0], "one thread; neighbours whose distances differ by rounding alone may differ")


if __name__ == "__main__":
    main()
