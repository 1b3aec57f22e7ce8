"""SplitMix64 against the published algorithm in plain integers, and what uniforms must be like."""

import pytest
import torch

from taskgen.engines import noise

MASK = 2**64 - 1
SEEDS = [0, 1, 2, 12345, 2**53 - 1, 2**63 - 1]


def splitmix64(state: int, steps: int) -> int:
    """Output number `steps` of the generator as published (Steele, Lea and Flood 2014): state += gamma, then mix."""
    z = (state + steps * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def unsigned(key: torch.Tensor) -> list[int]:
    return [value & MASK for value in key.tolist()]


def test_the_reference_gives_the_published_numbers() -> None:
    # The first outputs for the seed 1234567, as printed by the reference implementation at prng.di.unimi.it.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [splitmix64(1234567, step) for step in (1, 2, 3, 4)] == published


def test_keys_are_first_outputs() -> None:
    assert unsigned(noise.keys(SEEDS)) == [splitmix64(seed, 1) for seed in SEEDS]


@pytest.mark.parametrize("width", [1, 2, 3])
def test_uniforms_are_the_top_bits_of_the_outputs_in_order(width: int) -> None:
    key = noise.keys(SEEDS)
    counter = torch.tensor([0, 1, 2, 7, 100, 10**6])
    drawn = noise.uniforms(key, counter, width, steps=3)
    assert (drawn.shape, drawn.dtype) == ((3, len(SEEDS), width), torch.float32)
    for step in range(3):
        for slot, (start, count) in enumerate(zip(unsigned(key), counter.tolist(), strict=True)):
            places = [(count + step) * width + column for column in range(1, width + 1)]
            expected = [((splitmix64(start, place) >> 41) + 0.5) / 2**23 for place in places]
            assert drawn[step, slot].tolist() == expected


def test_uniforms64_have_52_bits() -> None:
    key = noise.keys(SEEDS)
    expected = [[((splitmix64(start, n) >> 12) + 0.5) / 2**52 for n in range(1, 5)] for start in unsigned(key)]
    assert noise.uniforms64(key, 4).tolist() == expected


def test_children_are_distinct_whatever_the_form_of_the_index() -> None:
    key = noise.keys(range(100))
    children = [noise.child(key, index) for index in range(-1, 20)]
    assert len({value for child in children for value in child.tolist()}) == 21 * 100
    assert torch.equal(children[4], noise.child(key, torch.full((100,), 3)))


def test_children_by_the_published_finaliser() -> None:
    key = noise.keys(SEEDS)
    for index in (0, 1, 7):
        places = [((value ^ 0xBF58476D1CE4E5B9) + index * 0x94D049BB133111EB) & MASK for value in unsigned(key)]
        assert unsigned(noise.child(key, index)) == [splitmix64(place, 0) for place in places]


def test_the_forms_in_torch_alone_give_the_same() -> None:
    key, counter = noise.keys(SEEDS), torch.tensor([0, 1, 2, 7, 100, 10**6])
    for index in (-1, 0, 1, 3, 2**40):
        assert torch.equal(noise.traced_child(key, index), noise.child(key, index))
    assert torch.equal(noise.traced_child(key, counter), noise.child(key, counter))
    assert torch.equal(noise.traced_uniforms(key, counter, 3, 4), noise.uniforms(key, counter, 3, 4))


def test_what_other_devices_compute_equals_what_the_cpu_computes() -> None:
    """The torch form of the finaliser, which a GPU runs, is the same function."""
    bits = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 123456789])
    expected = [splitmix64(value & MASK, 0) for value in bits.tolist()]
    assert unsigned(noise._finalise(bits)) == expected


@pytest.mark.cuda
def test_a_gpu_draws_the_same_noise() -> None:
    key, counter = noise.keys(SEEDS), torch.arange(len(SEEDS))
    there = noise.keys(SEEDS, "cuda")
    assert torch.equal(there.cpu(), key)
    assert torch.equal(noise.child(there, 5).cpu(), noise.child(key, 5))
    assert torch.equal(noise.uniforms(there, counter.cuda(), 3, 4).cpu(), noise.uniforms(key, counter, 3, 4))


def test_the_interval_is_open_even_in_the_extreme() -> None:
    zeros, ones = torch.tensor([0, MASK >> 41], dtype=torch.float32)
    assert float((zeros + 0.5) * 2.0**-23) > 0.0
    assert float((ones + 0.5) * 2.0**-23) < 1.0
    drawn = noise.uniforms(noise.keys(range(50_000)), torch.zeros(50_000, dtype=torch.int64), 20)
    assert 0.0 < float(drawn.min()) < 1e-5
    assert 1.0 - 1e-5 < float(drawn.max()) < 1.0


@pytest.mark.parametrize("vary", ["seed", "counter", "column", "child"])
def test_uniform_whatever_varies(vary: str) -> None:
    """256 bins, chi-squared within six standard deviations; neighbours uncorrelated."""
    count = 200_000
    one, zeros, line = noise.keys([1]), torch.zeros(count, dtype=torch.int64), torch.arange(count)
    drawn = {
        "seed": lambda: noise.uniforms(noise.keys(range(count)), zeros, 1),
        "counter": lambda: noise.uniforms(one.expand(count).contiguous(), line, 1),
        "column": lambda: noise.uniforms(one, zeros[:1], count),
        "child": lambda: noise.uniforms(noise.child(one.expand(count).contiguous(), line), zeros, 1),
    }[vary]().flatten()
    found = torch.histc(drawn, 256, 0.0, 1.0)
    expected = count / 256
    statistic = float(((found - expected) ** 2 / expected).sum())
    assert abs(statistic - 255) < 6 * (2 * 255) ** 0.5
    centred = drawn - 0.5
    assert abs(float((centred[1:] * centred[:-1]).mean()) * 12) < 5 / count**0.5
