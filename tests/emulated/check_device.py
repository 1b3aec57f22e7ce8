"""The emulated device catches what it is there for: faults planted here are refused or counted, with their line."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.emulated import device, graph

device.install()

pytestmark = pytest.mark.skipif(device.REAL, reason="of the emulation, not of a card")

HERE = torch.device(device.NAME)


def on(*values, **options):
    return torch.tensor(values, device=HERE, **options)


MIXED = {
    "an index of the host into gather": lambda: on(1.0, 2.0).gather(0, torch.tensor([0])),
    "an index of the host into index_select": lambda: on(1.0, 2.0).index_select(0, torch.tensor([0])),
    "an index of the device into a tensor of the host": lambda: torch.zeros(3)[on(0)],
    "values of the host put into the device": lambda: on(1.0, 2.0).index_put_((on(0),), torch.ones(1)),
    "a sum": lambda: on(1.0, 2.0) + torch.ones(2),
    "where": lambda: torch.where(torch.tensor([True, False]), on(1.0, 2.0), on(3.0, 4.0)),
    "cat": lambda: torch.cat([on(1.0), torch.ones(1)]),
    "a product of matrices": lambda: torch.ones(2, 2) @ torch.ones(2, 2, device=HERE),
    "a layer that was left on the host": lambda: nn.Linear(2, 2)(torch.ones(1, 2, device=HERE)),
    "a layer with its input on the host": lambda: nn.Linear(2, 2).to(HERE)(torch.ones(1, 2)),
    "a generator of the host": lambda: torch.rand(2, generator=torch.Generator(), device=HERE),
    "a generator of the device for the host": lambda: torch.rand(2, generator=torch.Generator(HERE)),
}


@pytest.mark.parametrize("what", MIXED)
def test_a_mix_up_of_devices_is_refused(what):
    with pytest.raises(RuntimeError, match="Expected a"):
        MIXED[what]()


@pytest.mark.parametrize("convert", [lambda x: x.numpy(), np.asarray, np.array, lambda x: x.detach().numpy()])
def test_conversion_to_numpy_is_refused(convert):
    with pytest.raises(TypeError, match="copy it to the host first"):
        convert(on(1.0))


def test_the_state_of_a_generator_lies_on_the_host():
    generator = torch.Generator(HERE)
    assert generator.get_state().device.type == "cpu"
    with pytest.raises(TypeError, match="ByteTensor"):
        generator.set_state(generator.get_state().to(HERE))


def _loop(values):
    return [value for value in values if value]


WAITS = {
    "item": (lambda x: x.sum().item(), 1),
    "bool": (lambda x: bool(x.any()), 1),
    "int": (lambda x: int(x[0]), 1),
    "float": (lambda x: float(x[0]), 1),
    "if": (lambda x: 1 if x[0] > 0 else 0, 1),
    "a loop over values": (_loop, 3),
    "tolist": (lambda x: x.tolist(), 1),
    "a copy to the host": (lambda x: x.cpu(), 1),
    "a copy into the host's": (lambda x: torch.zeros(3).copy_(x), 1),
    "nonzero": (lambda x: x.nonzero(), 1),
    "rows by a mask": (lambda x: x[x > 1], 1),
    "rows put by a mask": (lambda x: x.index_put_((x > 1,), on(5.0, 6.0)), 1),
    "masked_select": (lambda x: x.masked_select(x > 1), 1),
    "unique": (lambda x: x.unique(), 1),
    "equal": (lambda x: torch.equal(x, x.clone()), 1),
    "repeat_interleave": (lambda x: x.repeat_interleave(x.long()), 1),
    "multinomial": (lambda x: x.multinomial(1), 1),
    "one value put by a mask": (lambda x: x.index_put_((x > 1,), on(0.0)), 0),
    "masked_fill": (lambda x: x.masked_fill(x > 1, 0.0), 0),
    "where": (lambda x: torch.where(x > 1, x, 0.0), 0),
    "a sum with a number": (lambda x: x + 1.5, 0),
    "rows by numbers": (lambda x: x[on(0, 1)], 0),
    "a draw": (lambda x: torch.rand(3, generator=torch.Generator(HERE), device=HERE), 0),
}


@pytest.mark.parametrize("what", WAITS)
def test_every_wait_is_counted_with_its_line(what):
    act, expected = WAITS[what]
    x = on(1.0, 2.0, 3.0)
    with device.watched() as ledger:
        act(x)
    assert ledger.syncs.total() == expected, ledger.syncs
    assert all("check_device.py:" in line for _, line in ledger.syncs)


@pytest.mark.parametrize(
    "upload",
    [
        lambda: torch.tensor([1.0], device=HERE),
        lambda: torch.as_tensor(np.ones(2), device=HERE),
        lambda: torch.ones(2).to(HERE),
        lambda: torch.zeros(2, device=HERE).copy_(torch.ones(2)),
        lambda: torch.zeros(2, device=HERE)[torch.tensor([0, 1])],
    ],
)
def test_every_upload_is_counted(upload):
    with device.watched() as ledger:
        upload()
    assert ledger.uploads.total() == 1
    assert not ledger.syncs


def test_nothing_is_counted_outside_and_everything_in_each():
    with device.watched() as outer:
        on(1.0).item()
        with device.watched() as inner:
            on(1.0).item()
    on(1.0).item()
    assert (outer.syncs.total(), inner.syncs.total()) == (2, 1)


def test_numbers_are_those_of_the_cpu():
    """Also random ones, gradients, and what is written in place through a view."""

    def numbers(where):
        generator = torch.Generator(where).manual_seed(3)
        x = torch.randn(4, 3, generator=generator, device=where).requires_grad_()
        layer = nn.Linear(3, 2)
        with torch.no_grad():
            layer.weight.copy_(torch.arange(6.0).view(2, 3))
            layer.bias.zero_()
        layer.to(where)(x).square().sum().backward()
        y = x.detach().clone()
        y[:, 1] = 7.0
        y.t()[0] += 1.0
        return [x.grad.cpu(), y.cpu(), (y[0] @ y.t()).cpu()]

    for here, there in zip(numbers(HERE), numbers("cpu"), strict=True):
        assert torch.equal(here, there)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (nn.GRU, [[0.3302148, 0.3472261], [0.2321618, 0.3250438], [0.3788387, 0.5047014]]),
        (nn.LSTM, [[0.028666, 0.1174195], [0.0284315, 0.1052816], [0.0410349, 0.1704912]]),
    ],
)
def test_recurrent_layers_are_those_of_torch_up_to_rounding(kind, expected):
    """The cells that stand in for cuDNN: expected are the numbers of torch's own layers on a CPU."""
    layer = kind(1, 2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.linspace(-0.5, 0.5, parameter.numel()).view(parameter.shape))
    zero = torch.zeros(1, 1, 2)
    state = zero if kind is nn.GRU else (zero, zero)
    inputs = torch.tensor([[[1.0]], [[-1.0]], [[0.5]]])
    torch.testing.assert_close(layer(inputs, state)[0][:, 0], torch.tensor(expected), rtol=0, atol=1e-6)


def test_an_optimiser_steps_on_the_device():
    layer = nn.Linear(2, 1).to(HERE)
    before = copy.deepcopy(layer)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 2, device=HERE)).sum().backward()
    optimiser.step()
    moved = (before.weight - layer.weight).detach().cpu()
    torch.testing.assert_close(moved, torch.full((1, 2), 0.1), rtol=1e-4, atol=1e-5)


def test_a_shape_that_changes_in_place_is_known():
    x = torch.zeros(1, 3, device=HERE)
    assert x.squeeze_(0).shape == (3,)
    assert (torch.ones(2, device=HERE) @ torch.ones(2, 4, device=HERE)).shape == (4,)


def test_a_graph_does_again_what_was_captured(monkeypatch):
    """On the buffers as they are by then, and on nothing else: Python's own state is not looked at again."""
    graph.emulate(monkeypatch)
    buffer, factor = on(1.0, 2.0), 2.0
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        rows = (buffer * factor).unbind()
        total = rows[0] + rows[1]
    assert total.item() == 6.0
    buffer.copy_(on(3.0, 4.0))
    factor = 100.0
    recorded.replay()
    assert total.item() == 14.0
    assert rows[1].item() == 8.0
