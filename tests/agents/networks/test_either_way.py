"""Whatever is done with what a kernel computes comes out as if torch had computed it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from agents.common.distributions import Categorical
from agents.common.losses import ppo_losses
from agents.networks import kernels
from agents.networks.fast_weights import FastWeights, FastWeightsConfig
from agents.networks.gru import GRU, GRUConfig
from agents.networks.readout import readout

Computed = Callable[..., Tensor]
ROWS, WIDTH = 2, 64


class _Readout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.stack(readout(inputs, self.one, self.other)).sum(0)


class _Losses(nn.Module):
    """Of logits and values that are made of each other."""

    def forward(self, inputs: Tensor, **given: Tensor) -> Tensor:
        some = torch.linspace(0.1, 1.0, inputs[..., 0].numel()).view(inputs.shape[:-1])
        columns = {"log_prob": -3 - some, "advantage": some - 0.5, "target": some, "weight": some, **given}
        action = torch.arange(some.numel()).view(some.shape) % WIDTH
        losses = ppo_losses(Categorical(inputs), inputs[..., :10].square().mean(-1), action, **columns, clip=0.2)
        return losses[:3].sum() + inputs


def _networks() -> dict[str, Any]:
    torch.manual_seed(0)
    sizes = {"width": WIDTH, "layers": 1, "heads": 2, "key_width": 3, "value_width": 5, "perceptron_width": 7}
    gru = GRU(GRUConfig(hidden_size=WIDTH), input_size=WIDTH)
    fast_weights = FastWeights(FastWeightsConfig.model_validate(sizes), input_size=WIDTH)
    with torch.no_grad():
        fast_weights.layers[0].decay.fill_(4.0)  # where it has a slope
    for network in (gru, fast_weights):
        network.forward = network.sequence
    return {"gru": gru, "fast-weights": fast_weights, "readout": _Readout(), "losses": _Losses()}


def _either_way(compute: Callable[[], Any]) -> None:
    """Whether `compute` gives the same by kernels and by torch, or is refused by both."""
    found = {}
    for way in ("compiled", "torch"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(kernels.VARIABLE, way)
            torch.manual_seed(1)
            try:
                found[way] = compute()
            except RuntimeError:
                found[way] = None
    torch.testing.assert_close(found["compiled"], found["torch"], rtol=1e-3, atol=1e-4)


def _slopes(output: Tensor, wanted: list[Tensor]) -> list[Tensor]:
    """And the slopes of their squares."""
    first = torch.autograd.grad(output.square().sum(), wanted, create_graph=True)
    return [*first, *torch.autograd.grad(torch.stack([one.square().sum() for one in first]).sum() / 1e3, wanted)]


ALL = pytest.mark.parametrize("name", list(_networks()))


@ALL
def test_gradients_of_gradients_of_what_is_made_of_each_other(name):
    """The second call is given what came of the first, so that its inputs depend on its weights."""
    network = _networks()[name]

    def compute():
        inputs = torch.randn(3, ROWS, WIDTH, requires_grad=True)
        return _slopes(network(network(inputs)), [inputs, *network.parameters()])

    _either_way(compute)


@pytest.mark.parametrize("name", ["gru", "fast-weights"])
def test_gradients_of_gradients_by_way_of_the_memory(name):
    network = _networks()[name]

    def compute():
        inputs = torch.randn(3, ROWS, WIDTH, requires_grad=True)
        output, memory = network.step(inputs[0], network.initial(ROWS))
        return _slopes(network.sequence(inputs, None, memory) + output, [inputs, *network.parameters()])

    _either_way(compute)


@ALL
def test_weights_that_stand_in_for_a_module_s_own(name):
    """As an inner loop has them: gradients are of those, and theirs of what they were made of."""
    network = _networks()[name]

    def compute():
        inputs = torch.randn(3, ROWS, WIDTH, requires_grad=True)
        made = {key: weight * 0.5 for key, weight in network.named_parameters()}
        output = torch.func.functional_call(network, made, inputs)
        return _slopes(output, [inputs, *made.values()])

    _either_way(compute)


@ALL
def test_many_slopes_at_once(name):
    network = _networks()[name]

    def compute():
        inputs = torch.randn(3, ROWS, WIDTH, requires_grad=True)
        output = network(inputs)
        wanted, slopes = [inputs, *network.parameters()], torch.randn(5, *output.shape)
        return [
            torch.autograd.grad(output, wanted, slopes, retain_graph=True, is_grads_batched=True),
            torch.func.vmap(lambda slope: torch.autograd.grad(output, wanted, slope))(slopes),
        ]

    _either_way(compute)


@ALL
def test_forward_derivatives_are_not_lost(name):
    network = _networks()[name]

    def compute():
        inputs, slope = torch.randn(2, 3, ROWS, WIDTH)
        found = []
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(inputs, slope)
            for grad in (False, True):
                with torch.set_grad_enabled(grad):
                    found.append(torch.autograd.forward_ad.unpack_dual(network(dual)).tangent)
        return found

    _either_way(compute)


@pytest.mark.parametrize("name", ["gru", "fast-weights", "readout"])
def test_weights_with_gaps_or_of_another_shape(name):
    """Some longer, some shorter than they should be: a kernel would read what is beyond them."""
    network = _networks()[name]
    inputs = torch.randn(3, ROWS, WIDTH)
    for key, weight in network.named_parameters():
        apart = torch.stack([weight.detach()] * 2, -1)[..., 0].requires_grad_()
        twice: list[Tensor] = [weight, weight]
        for other in (apart, weight[:-1], weight[..., :-1], torch.cat(twice), torch.cat(twice, -1)):

            def compute(key=key, other=other):
                output = torch.func.functional_call(network, {key: other}, inputs)
                return [output, *torch.autograd.grad(output.sum(), [other])]

            _either_way(compute)


@pytest.mark.parametrize("name", ["gru", "fast-weights"])
def test_restarts_elsewhere(name):
    network = _networks()[name]
    with torch.no_grad():
        _either_way(lambda: network(torch.randn(3, ROWS, WIDTH), torch.ones(3, ROWS, dtype=torch.bool, device="meta")))


@pytest.mark.parametrize("column", ["log_prob", "advantage", "target", "weight"])
def test_columns_of_ppo_that_are_learned(column):
    """As an inner loop that is differentiated may have them."""

    def compute():
        inputs, learned = torch.randn(3, ROWS, WIDTH, requires_grad=True), torch.rand(3, ROWS, requires_grad=True)
        output = _Losses()(inputs, **{column: learned})
        return torch.autograd.grad(output.sum(), [inputs, learned])

    _either_way(compute)


@pytest.mark.parametrize("least", [-80.0, -88.0, -100.0, -1e9, torch.finfo(torch.float32).min])
def test_choices_that_are_masked(least):
    """Whatever number says that they are never chosen, they take no part in entropy and gradients."""

    def compute():
        inputs = torch.randn(3, ROWS, WIDTH).index_fill(-1, torch.arange(10, WIDTH), least).requires_grad_()
        output = _Losses()(inputs)
        return [output, *torch.autograd.grad(output[..., 0].mean(), [inputs])]

    _either_way(compute)


@pytest.mark.parametrize("log_prob", [-95.0, 95.0])
def test_ratios_beyond_all_numbers(log_prob):
    _either_way(lambda: _Losses()(torch.randn(3, ROWS, WIDTH), log_prob=torch.full((3, ROWS), log_prob)))
