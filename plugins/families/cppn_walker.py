"""A planar biped on ground that a small network draws: a CPPN, a graph of functions, is the task.

The height of the ground is y(x) = f(x) - f(x0), x from -pi to pi over the course, x0 at the end of the flat pad. f is a
feed-forward graph of nodes from the one input to the one output: act(bias + sum of weight * value). Mutation adds nodes
and moves weights, so courses grow more intricate from one flat start, with no bound on their kind.

Reference: Wang et al. 2020, "Enhanced POET: Open-Ended Reinforcement Learning through Unbounded Invention of Learning
Challenges and their Solutions", section 4.2; settings of NEAT: the released code. Stanley 2007, "Compositional Pattern
Producing Networks". The walker is that of `plugins.families.biped`.

Differences from the release: the ground is checked where it is walked, not on [-1, 1], and its height counts in both
directions; a height outside the limits is drawn anew exactly, for which the release scales what the output node sums
up; a split keeps the old connection beside the new path, for which NEAT disables it but may split it again; there are
at most `hidden` nodes between input and output, and what they give is clipped, so that every genome has finite ground.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plugins.families.biped import CourseWalker
from plugins.families.terrain import LENGTH, PAD, STEP, Floats
from registry.config import Config
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import IntegerRange, Uniform

LARGEST = 10.0
"""Weights and biases lie within this of zero."""
HIGHEST = 16.0
"""Metres that the ground may rise or fall, see `CPPNWalker.mutate`."""
_ACTIVATIONS = (
    lambda x: x,
    np.sin,
    lambda x: 0.5 + 0.5 * np.tanh(0.5 * x),
    np.square,
    np.tanh,
)  # identity, sine, sigmoid, square, hyperbolic tangent
_LIMIT = 1e6  # of what a node gives
_EVEN = 1e-9  # ground that varies less than this, of what the nodes give, is flat
_ADD, _DELETE = 0.1, 0.075  # probabilities that a mutation adds a node, takes one away
_RATE, _POWER = 0.75, 0.1  # probability that a number moves, standard deviation of its move
_FIRST_WEIGHT, _FIRST_BIAS = 0.25, 0.1  # standard deviations
_LOW, _HIGH = (0.25, 0.75), (12.0, 16.0)  # metres, what becomes of ground too even, or too high
_ATTEMPTS = 100  # a genome of which nothing comes is one whose nodes are all beyond their limits
_SKIN = STEP / 2
_EVERY = 10  # steps between the heights of a descriptor


class CPPNWalkerConfig(Config):
    """Structural settings of `CPPNWalker`."""

    horizon: int = Field(2000, ge=1, le=100_000, description="Steps per episode.")
    hidden: int = Field(8, ge=0, le=32, description="Nodes between input and output, at most.")


@dataclass
class Genome:
    """A feed-forward graph, its nodes in an order in which none comes before its inputs: input, hidden, output."""

    weights: Floats
    """[N + 1, N + 1] from input or hidden node (row) to hidden node or output (column), zero where none leads; entries
    below the diagonal are zero."""
    biases: Floats
    """[N + 1]."""
    activations: NDArray[np.int64]
    """[N + 1] places in the list identity, sine, sigmoid, square, hyperbolic tangent."""

    def __call__(self, x: Floats) -> Floats:
        """f at `x` [P]."""
        values = [x]
        for node, (bias, activation) in enumerate(zip(self.biases, self.activations, strict=True)):
            total = bias + self.weights[: node + 1, node] @ np.stack(values)
            values.append(np.clip(_ACTIVATIONS[activation](total), -_LIMIT, _LIMIT))
        return values[-1]

    def add(self, source: int, target: int, activation: int, bias: float) -> None:
        """A node halfway along the connection from row `source` to column `target`: weight 1 into it, then the old."""
        at = source  # the column of the new node; what was there moves on
        weight = self.weights[source, target]
        self.weights = np.insert(np.insert(self.weights, at, 0.0, axis=1), at + 1, 0.0, axis=0)
        self.weights[source, at], self.weights[at + 1, target + 1] = 1.0, weight
        self.biases = np.insert(self.biases, at, bias)
        self.activations = np.insert(self.activations, at, activation)

    def delete(self, node: int) -> None:
        """Take away the hidden node of column `node`, with its connections."""
        self.weights = np.delete(np.delete(self.weights, node, axis=1), node + 1, axis=0)
        self.biases = np.delete(self.biases, node)
        self.activations = np.delete(self.activations, node)


class CPPNWalker(CourseWalker[CPPNWalkerConfig]):
    """The biped on ground that the CPPN of the context draws; see `CourseWalker`.

    The default is flat. Weights are the upper triangle of `Genome.weights`, row by row; nodes that nothing reaches, or
    from which nothing leads on, do not count.
    """

    def __init__(self, config: CPPNWalkerConfig, *, name: str) -> None:
        super().__init__(config, name=name, horizon=config.horizon)

    @cached_property
    def context_space(self) -> ContextSpace:
        """The genome, and how high its ground is."""
        nodes = self.config.hidden + 1
        edges = nodes * (nodes + 1) // 2
        last = len(_ACTIVATIONS) - 1
        some = Uniform(low=-1.0, high=1.0)
        kinds = "identity, sine, sigmoid, square, hyperbolic tangent"
        return ContextSpace(
            {
                "amplitude": Knob(
                    0.0, HIGHEST, 0.0, "Most that the ground rises or falls.", "m", vary=Uniform(low=0.25, high=2.0)
                ),
                "weights": Knob(-LARGEST, LARGEST, 0.0, "Connections; 0: there is none.", shape=(edges,), vary=some),
                "biases": Knob(
                    -LARGEST, LARGEST, 0.0, "Bias of each hidden node, then the output.", shape=(nodes,), vary=some
                ),
                "activations": Knob(
                    0,
                    last,
                    0,
                    f"Function of each hidden node, then the output: {kinds}.",
                    shape=(nodes,),
                    integer=True,
                    vary=IntegerRange(low=0, high=last),
                ),
            }
        )

    def course(self, spec: TaskSpec) -> NDArray[np.float64]:
        """[P, 5] the pieces of ground of a task, see `plugins.families.terrain.course`."""
        z = np.zeros(LENGTH + 1)
        z[PAD:] = self.heights(spec.context)
        x = np.arange(LENGTH + 1) * STEP
        return np.stack([x[:-1], z[:-1], x[1:], z[1:], np.full(LENGTH, _SKIN)], axis=1)

    def heights(self, context: Mapping[str, Any]) -> Floats:
        """[LENGTH - PAD + 1] metres, at every step from the end of the pad, where it is 0."""
        shape = _ground(genome_of(context))
        most = np.abs(shape).max()
        return np.zeros_like(shape) if most == 0.0 else context["amplitude"] / most * shape

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Enhanced POET's mutation: with probability 0.1 a node more, with 0.075 one less; most numbers move a little.

        What the mutant's nodes give is its height in metres, but 0.25 to 0.75 where that is less, 12 to 16 where it is
        more than 16. Mutants that are flat, or the same as before, are drawn again, in the end from the flat start.
        """
        parent = genome_of(context)
        height, attempts = 0.0, 0
        child = parent
        while height == 0.0 or _same(parent, child):
            child = _mutant(parent if attempts < _ATTEMPTS else _flat(), rng, self.config.hidden)
            height = float(np.abs(_ground(child)).max())
            attempts += 1
        if not _LOW[0] <= height <= HIGHEST:
            height = float(rng.uniform(*(_LOW if height < _LOW[0] else _HIGH)))
        return {**context, "amplitude": height, **_written(child, self.config.hidden)}

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[18] metres: the height of the ground at every tenth step after the pad."""
        return self.heights(context)[_EVERY::_EVERY]


def genome_of(context: Mapping[str, Any]) -> Genome:
    """The genome of a context without the hidden nodes that do not count."""
    biases, activations = np.array(context["biases"], dtype=np.float64), np.array(context["activations"])
    weights = np.zeros((len(biases), len(biases)))
    weights[np.triu_indices(len(biases))] = context["weights"]
    genome = Genome(weights, biases, activations)
    for node in reversed(range(len(biases) - 1)):  # from which nothing leads on; then, which nothing reaches
        if not genome.weights[node + 1].any():
            genome.delete(node)
    node = 0
    while node < len(genome.biases) - 1:
        if genome.weights[:, node].any():
            node += 1
        else:
            _constant(genome, node)
    return genome


def _constant(genome: Genome, node: int) -> None:
    """Delete a node without inputs: what it gives is part of the biases of those it leads to."""
    gives = np.clip(_ACTIVATIONS[genome.activations[node]](genome.biases[node]), -_LIMIT, _LIMIT)
    genome.biases = genome.biases + gives * genome.weights[node + 1]
    genome.delete(node)


def _written(genome: Genome, hidden: int) -> dict[str, Any]:
    """The genome as knobs; the output comes last, nodes that are not there between the others and it."""
    nodes = len(genome.biases) - 1
    place = np.array([*range(nodes), hidden])  # columns
    weights = np.zeros((hidden + 1, hidden + 1))
    weights[np.ix_(np.arange(nodes + 1), place)] = genome.weights
    biases, activations = np.zeros(hidden + 1), np.zeros(hidden + 1, dtype=np.int64)
    biases[place], activations[place] = genome.biases, genome.activations
    return {
        "weights": weights[np.triu_indices(hidden + 1)].tolist(),
        "biases": biases.tolist(),
        "activations": activations.tolist(),
    }


def _flat() -> Genome:
    return Genome(np.zeros((1, 1)), np.zeros(1), np.zeros(1, dtype=np.int64))


def _mutant(parent: Genome, rng: np.random.Generator, hidden: int) -> Genome:
    child = Genome(parent.weights.copy(), parent.biases.copy(), parent.activations.copy())
    if not child.weights.any():  # the flat start
        child.weights[0, -1], child.biases[-1] = rng.normal(0.0, (_FIRST_WEIGHT, _FIRST_BIAS))
    nodes, change = len(child.biases) - 1, rng.random()
    if change < _ADD and nodes < hidden:
        edges = np.argwhere(child.weights)
        source, target = edges[rng.integers(len(edges))]
        child.add(int(source), int(target), int(rng.integers(len(_ACTIVATIONS))), float(rng.normal(0.0, _FIRST_BIAS)))
    elif _ADD <= change < _ADD + _DELETE and nodes:
        child.delete(int(rng.integers(nodes)))
    for numbers, there in ((child.weights, child.weights != 0.0), (child.biases, np.True_)):
        moves = rng.normal(0.0, _POWER, numbers.shape) * (rng.random(numbers.shape) < _RATE) * there
        np.clip(numbers + moves, -LARGEST, LARGEST, out=numbers)
    return child


def _same(one: Genome, other: Genome) -> bool:
    return (
        np.array_equal(one.weights, other.weights)
        and np.array_equal(one.biases, other.biases)
        and np.array_equal(one.activations, other.activations)
    )


def _ground(genome: Genome) -> Floats:
    """[LENGTH - PAD + 1] f(x) - f(x0) at every step from the end of the pad; zeros where that is rounding alone."""
    x = np.pi * (2.0 * np.arange(PAD, LENGTH + 1) / LENGTH - 1.0)
    values = genome(x)
    rise = values - values[0]
    return rise if np.abs(rise).max() > _EVEN * max(1.0, np.abs(values).max()) else np.zeros_like(rise)
