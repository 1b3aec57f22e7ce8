"""The kernel of the GRU is torch's GRU, forwards and backwards, up to rounding."""

import pytest
import torch

from agents.networks import kernels
from agents.networks.gru import GRU, GRUConfig, _cell_by_cell

SIZES = [(10, 125, 11, 64), (1, 1, 1, 1), (5, 7, 3, 5), (4, 13, 20, 37), (3, 6, 2, 16), (2, 3, 70, 130)]
"""Steps, rows, inputs, units: of bandits, the least, less than a vector, no whole vectors, whole ones, many."""


@pytest.fixture(autouse=True)
def _compiled(monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, "compiled")


def _case(steps, rows, width, size, *, restarts):
    torch.manual_seed(steps + size)
    network = GRU(GRUConfig(hidden_size=size), input_size=width)
    inputs = (2 * torch.randn(steps, rows, width)).requires_grad_()
    memory = torch.randn(rows, size).requires_grad_()
    restart = torch.rand(steps, rows) < 0.3 if restarts else None
    return network, inputs, restart, memory


def _found(network, inputs, restart, memory, slope):
    wanted = {"inputs": inputs, "memory": memory, **dict(network.named_parameters())}
    output = network.sequence(inputs, restart, (memory,))
    gradients = torch.autograd.grad(output, list(wanted.values()), slope.to(output.dtype))
    return {"output": output.detach(), **dict(zip(wanted, gradients, strict=True))}


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_states_and_gradients_are_those_of_double_precision(sizes, restarts):
    network, inputs, restart, memory = _case(*sizes, restarts=restarts)
    slope = torch.randn(*sizes[:2], sizes[3])
    found = _found(network, inputs, restart, memory, slope)
    exact = _found(network.double(), inputs.double(), restart, memory.double(), slope)
    for name, value in found.items():
        scale = exact[name].abs().max().clamp(min=1)
        torch.testing.assert_close(value, exact[name].float(), rtol=0, atol=float(2e-6 * scale), msg=name)


def test_gradients_are_slopes():
    """Of float64, by torch's operations, against finite differences: what the kernel is compared with."""
    network, inputs, restart, memory = _case(3, 2, 2, 3, restarts=True)
    weights = [weight.detach().double().requires_grad_() for weight in network.gru.all_weights[0]]
    arguments = (inputs.detach().double().requires_grad_(), memory.detach().double().requires_grad_(), *weights)
    assert torch.autograd.gradcheck(lambda x, h, *w: _cell_by_cell(x, h, restart, w), arguments)


def test_a_cell_by_hand():
    """sigmoid(ln 3) = 3/4 and sigmoid(0) = 1/2 as gates; tanh(x) = 3/5 at x = ln 2."""
    network = GRU(GRUConfig(hidden_size=1), input_size=1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        ln2, ln3 = torch.tensor([2.0, 3.0]).log()
        network.gru.weight_ih_l0[0] = ln3  # reset gate: sigmoid(ln 3 x)
        network.gru.weight_hh_l0[2] = ln2 * 4 / 3  # candidate: tanh(3/4 * 4/3 ln 2 h)
    output = network.sequence(torch.ones(2, 1, 1), None, (torch.ones(1, 1),))
    second = 0.5 * (0.8 + torch.tanh(ln2 * 0.8))  # of 0.5 * 0.6 + 0.5 * 1
    torch.testing.assert_close(output.flatten(), torch.stack([torch.tensor(0.8), second]))


def test_a_row_is_the_same_alone_and_a_step_the_same_as_a_sequence_to_the_bit():
    network, inputs, _, memory = _case(4, 13, 5, 20, restarts=False)
    whole = network.sequence(inputs, None, (memory,))
    for row in range(13):
        assert torch.equal(
            network.sequence(inputs[:, row : row + 1], None, (memory[row : row + 1],))[:, 0], whole[:, row]
        )
    state = (memory,)
    for t in range(4):
        with torch.no_grad():
            output, state = network.step(inputs[t], state)
        assert torch.equal(output, whole[t])


def test_the_same_bits_with_any_number_of_threads():
    network, *rest = _case(6, 40, 11, 64, restarts=False)
    slope, before = torch.randn(6, 40, 64), torch.get_num_threads()
    found = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found[threads] = _found(network, *rest, slope)
    torch.set_num_threads(before)
    assert all(torch.equal(found[1][name], found[2][name]) for name in found[1] if name != "inputs")


def test_extremes_stay_what_they_are():
    network, inputs, _, memory = _case(2, 8, 3, 20, restarts=False)
    with torch.no_grad():
        large = network.sequence(inputs * 1e6, None, (memory,))
        torch.testing.assert_close(large, _cell_by_cell(inputs * 1e6, memory, None, network.gru.all_weights[0]))
        inputs[0, 3, 1] = float("nan")
        assert network.sequence(inputs, None, (memory,)).isnan().all(2).tolist() == [[row == 3 for row in range(8)]] * 2


def test_gradients_of_gradients():
    network, inputs, restart, memory = _case(3, 2, 2, 5, restarts=True)

    def second():
        (slope,) = torch.autograd.grad(
            network.sequence(inputs, restart, (memory,)).square().sum(), inputs, create_graph=True
        )
        return torch.autograd.grad(slope.square().sum(), [inputs, *network.parameters()], allow_unused=True)

    found = second()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(kernels.VARIABLE, "torch")
        expected = second()
    for one, other in zip(found, expected, strict=True):
        assert one is other is None or torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_what_the_kernel_cannot_do_is_left_to_torch(monkeypatch):
    network, inputs, restart, memory = _case(3, 4, 2, 5, restarts=True)
    monkeypatch.setattr(kernels.Kernels, "call", None)  # nothing may ask it
    inputs, memory = inputs.detach(), memory.detach()
    assert network.double().sequence(inputs.double(), restart, (memory.double(),)).dtype == torch.float64
    network.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert network.sequence(inputs).isfinite().all()
    slopes = torch.func.grad(lambda x: network.sequence(x, restart, (memory,)).sum())(inputs)
    assert slopes.shape == inputs.shape
    for wrong in ((inputs[..., :1], None, (memory,)), (inputs, None, (memory[:2],)), (inputs[:0], None, (memory,))):
        with pytest.raises((RuntimeError, ValueError)):
            network.sequence(*wrong)
    with pytest.raises(TypeError, match="NoneType"):
        network.sequence(inputs, None, (memory,))
