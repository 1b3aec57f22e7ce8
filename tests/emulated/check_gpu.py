"""What `benchmarks.gpu` measures of the engine and trains, in small on the device."""

import pytest
import torch

from benchmarks import gpu, tensor_families
from tests.emulated import device, graph

device.install()


@pytest.mark.parametrize("family", ["cartpole", "maze"])
def test_the_engine(family, monkeypatch):
    graph.emulate(monkeypatch)
    monkeypatch.setattr(tensor_families, "TURNS", 2)
    monkeypatch.setattr(tensor_families, "SECONDS", 0.01)
    monkeypatch.setattr(gpu, "_jax_sees_it", lambda: False)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    rows = list(gpu.engine(device.NAME, 10.0, slots=(4,), families=(family,)))
    assert [row["what"] for row in rows if "bytes" not in row["what"]] == [
        f"{family}, 4 slots, eager: steps per second (median, 10-90%)",
        f"{family}, 4 slots, chunk of 8 as a graph: steps per second (median, 10-90%)",
    ]
    assert all(row["value"] > 0 for row in rows)
    assert {gpu.part_of(row["what"]) for row in rows} == {"engine"}


def test_cheetahs(monkeypatch):
    monkeypatch.setattr(gpu, "WARM_UP", 0)
    tiny = (
        "family.horizon=4",
        "training.tasks=2",
        "training.iterations=2",
        "evaluation.tasks=2",
        "evaluation.final_tasks=2",
    )
    rows = list(gpu.cheetahs(device.NAME, 60.0, tiny))
    assert len(rows) == 3
    assert all(row["value"] > 0 for row in rows)
    assert {gpu.part_of(row["what"]) for row in rows} == {"cheetahs"}
