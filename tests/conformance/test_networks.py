"""Every recurrent network of the catalogue is one map in two forms."""

import pytest
import torch

import registry
from agents.networks.base import Inputs, build_network, cleared
from registry.config import Part

NETWORKS = registry.catalogue().items("networks")


@pytest.fixture(params=NETWORKS, ids=lambda item: item.entry.name)
def network(request):
    torch.manual_seed(3)
    return build_network(Part(name=request.param.full_name), Inputs(5, observation=2, cue=(0, 1)), "mine")


def _unroll(network, inputs, restart=None):
    memory = network.initial(inputs.shape[1])
    outputs = []
    for t, row in enumerate(inputs):
        if restart is not None:
            memory = cleared(memory, restart[t])
        output, memory = network.step(row, memory)
        outputs.append(output)
    return torch.stack(outputs)


def test_step_and_sequence_agree(network):
    inputs = torch.randn(17, 4, 5)
    torch.testing.assert_close(network.sequence(inputs), _unroll(network, inputs), rtol=1e-4, atol=1e-5)
    assert network.sequence(inputs).shape == (17, 4, network.output_size)


def test_restart_returns_to_the_initial_state(network):
    inputs = torch.randn(12, 3, 5)
    restart = torch.zeros(12, 3, dtype=torch.bool)
    restart[0] = True
    restart[5, 0] = restart[7, 1] = restart[11, 1] = True
    whole = network.sequence(inputs, restart)
    torch.testing.assert_close(whole, _unroll(network, inputs, restart), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole[5:, :1], network.sequence(inputs[5:, :1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_sequence_goes_on_from_a_memory(network, restarts):
    inputs = torch.randn(11, 3, 5)
    restart = None
    if restarts:
        restart = torch.zeros(11, 3, dtype=torch.bool)
        restart[2, 0] = restart[4, 1] = restart[6, 2] = True
    whole = network.sequence(inputs, restart)
    memories = network.memories(inputs, 4, restart)
    for i, start in enumerate((0, 4, 8)):
        rest = None if restart is None else restart[start:]
        piece = network.sequence(inputs[start:], rest, tuple(part[i] for part in memories))
        torch.testing.assert_close(piece, whole[start:], rtol=1e-4, atol=1e-5)


def test_output_is_causal_and_remembers(network):
    inputs = torch.randn(9, 1, 5)
    changed = inputs.clone()
    changed[2] += 1.0
    before, after = network.sequence(inputs), network.sequence(changed)
    torch.testing.assert_close(before[:2], after[:2])
    assert (before[8] - after[8]).abs().max() > 1e-4 or network.covers == 1


def test_the_initial_state_is_zeros(network):
    assert all(not part.any() for part in network.initial(3))


def test_rows_are_independent(network):
    inputs = torch.randn(6, 3, 5)
    other = inputs.clone()
    other[:, 1:] = torch.randn(6, 2, 5)
    assert torch.equal(network.sequence(inputs)[:, 0], network.sequence(other)[:, 0])
