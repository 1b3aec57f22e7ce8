"""The biped on ground that a network draws: the graph by hand, mutation and its limits, ground in the simulation."""

import numpy as np
import pytest
import torch

from plugins.families import cppn_walker
from plugins.families.cppn_walker import HIGHEST, CPPNWalker, CPPNWalkerConfig, Genome, genome_of
from plugins.families.terrain import LENGTH, PAD, STEP, heights
from registry.errors import TaskError
from taskgen.testing import check_family

IDENTITY, SINE, SIGMOID, SQUARE, TANH = range(5)


def make(**settings) -> CPPNWalker:
    return CPPNWalker(CPPNWalkerConfig(**settings), name="test/cppn")


def context(family, edges, biases=None, activations=None, amplitude=2.0):
    """Edges {(from, to): weight}: 0 is the input, 1, 2, ... hidden nodes, -1 the output."""
    nodes = family.config.hidden + 1
    weights = np.zeros((nodes, nodes))
    for (source, target), weight in edges.items():
        weights[source, target - 1 if target > 0 else nodes - 1] = weight
    given = {"biases": np.zeros(nodes), "activations": np.zeros(nodes, dtype=int)}
    for name, values in (("biases", biases or {}), ("activations", activations or {})):
        for node, value in values.items():
            given[name][node - 1 if node > 0 else nodes - 1] = value
    knobs = {name: values.tolist() for name, values in given.items()}
    return family.spec({"amplitude": amplitude, "weights": weights[np.triu_indices(nodes)].tolist(), **knobs}).context


def test_family_conforms():
    check_family(make(horizon=60))
    check_family(make(horizon=60, hidden=0))


def test_the_default_is_flat():
    family = make()
    pieces = family.course(family.spec())
    assert pieces.shape == (LENGTH, 5)
    assert (pieces[:, [1, 3]] == 0.0).all()
    assert not family.descriptor(family.spec().context).any()


def test_a_line_by_hand():
    family = make()
    ground = family.heights(context(family, {(0, -1): 0.3}, biases={-1: 5.0}))
    np.testing.assert_allclose(ground, np.linspace(0.0, 2.0, LENGTH - PAD + 1), atol=1e-12)
    falling = family.heights(context(family, {(0, -1): -0.3}))
    np.testing.assert_allclose(falling, -ground, atol=1e-12)


def test_a_graph_by_hand():
    """f(x) = 0.5 x + 2 sin(3 x + 1) - tanh(4 sin(3 x + 1) - x^2)."""
    family = make()
    edges = {(0, 1): 3.0, (0, 2): 1.0, (1, 3): 4.0, (2, 3): -1.0, (0, -1): 0.5, (1, -1): 2.0, (3, -1): -1.0}
    given = context(family, edges, biases={1: 1.0}, activations={1: SINE, 2: SQUARE, 3: TANH})
    x = np.pi * (np.arange(PAD, LENGTH + 1) - 100) / 100
    wave = np.sin(3 * x + 1)
    f = 0.5 * x + 2 * wave - np.tanh(4 * wave - x**2)
    expected = f - f[0]
    np.testing.assert_allclose(family.heights(given), 2 * expected / np.abs(expected).max(), atol=1e-9)
    pieces = family.course(family.spec(given))
    level = heights(pieces, (np.arange(LENGTH) + 0.5) * STEP)
    assert not level[:PAD].any()
    np.testing.assert_allclose(level[PAD:], (family.heights(given)[1:] + family.heights(given)[:-1]) / 2, atol=1e-9)
    np.testing.assert_allclose(family.descriptor(given), family.heights(given)[10::10])


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (IDENTITY, [-2.0, 0.5]),
        (SINE, np.sin([-2.0, 0.5])),
        (SIGMOID, 1 / (1 + np.exp([2.0, -0.5]))),
        (SQUARE, [4.0, 0.25]),
        (TANH, np.tanh([-2.0, 0.5])),
    ],
)
def test_activations(activation, expected):
    genome = Genome(np.array([[1.0]]), np.zeros(1), np.array([activation]))
    np.testing.assert_allclose(genome(np.array([-2.0, 0.5])), expected)


def test_nodes_that_do_not_count_are_left_out():
    family = make()
    edges = {(0, -1): 1.0, (0, 1): 1.0, (1, 2): 1.0, (4, 5): 2.0, (5, -1): 3.0}  # 2 leads nowhere, nothing leads to 4
    given = context(family, edges, biases={4: 0.7, 5: 0.1}, activations={2: SINE, 4: SQUARE, 5: TANH})
    genome = genome_of(given)
    assert genome.weights.tolist() == [[1.0]]
    assert genome.biases == pytest.approx([3 * np.tanh(0.1 + 2 * 0.49)])


def test_a_split_keeps_the_old_connection():
    genome = Genome(np.array([[0.0, 0.5], [0.0, 2.0]]), np.array([0.1, 0.2]), np.array([SINE, IDENTITY]))
    genome.weights[0, 0] = 3.0
    genome.add(1, 1, SQUARE, 0.3)  # between the sine and the output
    assert genome.weights.tolist() == [[3.0, 0.0, 0.5], [0.0, 1.0, 2.0], [0.0, 0.0, 2.0]]
    assert genome.activations.tolist() == [SINE, SQUARE, IDENTITY]
    x = np.linspace(-1, 1, 5)
    wave = np.sin(3 * x + 0.1)
    np.testing.assert_allclose(genome(x), 0.2 + 0.5 * x + 2 * wave + 2 * np.square(wave + 0.3))
    genome.delete(1)
    np.testing.assert_allclose(genome(x), 0.2 + 0.5 * x + 2 * wave)
    genome.add(0, 1, TANH, 0.0)  # between input and output, before the sine
    np.testing.assert_allclose(genome(x), 0.2 + 0.5 * x + 2 * wave + 0.5 * np.tanh(x))


def test_mutants_are_valid_new_and_within_limits():
    family = make(hidden=3)
    rng = np.random.default_rng(0)
    given, nodes, heights_seen = dict(family.spec().context), [], []
    for _ in range(300):
        before = given
        given = dict(family.spec(family.mutate(given, rng)).context)
        assert given != before
        genome = genome_of(given)
        nodes.append(len(genome.biases) - 1)
        ground = family.heights(given)
        assert np.abs(ground).max() == pytest.approx(given["amplitude"])
        heights_seen.append(given["amplitude"])
    assert min(heights_seen) >= 0.25
    assert max(heights_seen) <= HIGHEST
    assert set(nodes) == {0, 1, 2, 3}
    assert len({round(height, 3) for height in heights_seen if 0.75 < height < 12}) > 100  # what the nodes give


def test_how_often_mutation_does_what():
    rng = np.random.default_rng(1)
    parent = Genome(np.array([[1.0, 0.5], [0.0, 2.0]]), np.zeros(2), np.array([SINE, IDENTITY]))
    sizes, moved = [], []
    for _ in range(2000):
        child = cppn_walker._mutant(parent, rng, hidden=2)
        sizes.append(len(child.biases) - 2)
        if sizes[-1] == 0:
            moved += [*(child.weights - parent.weights)[np.triu_indices(2)], *child.biases]
    assert np.mean(np.array(sizes) == 1) == pytest.approx(0.1, abs=0.02)
    assert np.mean(np.array(sizes) == -1) == pytest.approx(0.075, abs=0.02)
    moved = np.array(moved)
    assert np.mean(moved != 0.0) == pytest.approx(0.75, abs=0.02)
    assert moved[moved != 0.0].std() == pytest.approx(0.1, abs=0.005)


def test_any_genome_gives_finite_ground_and_can_be_mutated():
    family = make()
    rng = np.random.default_rng(2)
    knobs = family.context_space.knobs
    for trial in range(60):
        reach = 10.0 if trial % 2 else 1.0
        given = {
            "amplitude": HIGHEST,
            "weights": rng.choice([-reach, 0.0, reach], knobs["weights"].shape).tolist(),
            "biases": rng.choice([-reach, reach], knobs["biases"].shape).tolist(),
            "activations": rng.integers(0, 5, knobs["activations"].shape).tolist(),
        }
        spec = family.spec(given)
        ground = family.heights(spec.context)
        assert np.isfinite(ground).all()
        assert np.abs(ground).max() <= HIGHEST + 1e-9
        assert np.isfinite(family.heights(family.spec(family.mutate(spec.context, rng)).context)).all()


def test_a_genome_beyond_its_limits_starts_again():
    """(10 (10 (0.001 x + 10) + 10)^2 + 10)^2 is above what a node may give everywhere, and so is every mutant's."""
    family = make(hidden=3)
    edges = {(0, 1): 0.001, (1, 2): 10.0, (2, 3): 10.0, (3, -1): 10.0}
    stuck = context(family, edges, biases={1: 10.0, 2: 10.0, 3: 10.0}, activations={2: SQUARE, 3: SQUARE})
    assert not family.heights(stuck).any()
    mutant = family.spec(family.mutate(stuck, np.random.default_rng(0))).context
    assert family.heights(mutant).any()
    assert len(genome_of(mutant).biases) <= 2
    assert np.abs(genome_of(mutant).weights).max() < 2.0


@pytest.mark.parametrize(
    ("knob", "value", "told"),
    [("weights", [0.0] * 44, "list of 45"), ("activations", [5] + [0] * 8, "0 to 4"), ("amplitude", 16.5, "0 to 16")],
)
def test_other_genomes_are_refused(knob, value, told):
    with pytest.raises(TaskError, match=told):
        make().spec({knob: value})


def test_the_walker_stands_on_the_ground_that_is_drawn():
    """Put down on a slope, its hull is as high above the ground as on the flat pad."""
    family = make()
    given = context(family, {(0, -1): 1.0}, amplitude=8.0)
    batch = family.batch(2, threads=1)
    batch.set_tasks([family.spec(), family.spec(given)])
    batch.reset()
    rise = 8.0 / 180
    batch._physics["qpos"][1, 0] += 40 * STEP
    batch._physics["qpos"][1, 1] += 30 * rise
    for _ in range(40):
        outcome = batch.step(torch.zeros(2, 4))
    flat, slope = batch._physics["qpos"][:, :2]
    here = np.interp(slope[0], np.arange(PAD, LENGTH + 1) * STEP, family.heights(given))
    assert slope[1] - here == pytest.approx(flat[1], abs=0.35)
    assert here > 1.0
    assert outcome.observation.isfinite().all()
