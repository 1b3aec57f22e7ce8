import torch

from agents.networks.mlp import Ensemble, mlp


def test_ensemble_is_its_members_one_by_one():
    ensemble = Ensemble(2, (3, 5, 1))
    inputs = torch.randn(7, 3)
    outputs = ensemble(inputs)
    assert outputs.shape == (2, 7, 1)
    for member in range(2):
        hidden = (inputs @ ensemble.weights[0][member] + ensemble.biases[0][member]).relu()
        expected = hidden @ ensemble.weights[1][member] + ensemble.biases[1][member]
        torch.testing.assert_close(outputs[member], expected)
    assert not torch.allclose(outputs[0], outputs[1])


def test_frozen_members_pass_gradients_to_their_inputs_alone():
    ensemble = Ensemble(2, (3, 5, 1))
    inputs = torch.randn(7, 3, requires_grad=True)
    ensemble(inputs, frozen=True).sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in ensemble.parameters())


def test_mlp_ends_with_its_activation():
    network = mlp((3, 5, 4))
    assert network(torch.randn(7, 3)).shape == (7, 4)
    assert (network(torch.randn(70, 3)) >= 0).all()


def test_ensembles_are_drawn_as_linear_layers_are():
    """Uniform within 1 / sqrt(inputs): 1 / 8 for 64 inputs."""
    ensemble = Ensemble(2, (64, 100))
    for drawn in (ensemble.weights[0], ensemble.biases[0]):
        assert drawn.abs().max() <= 0.125
        assert drawn.min() < -0.12
        assert drawn.max() > 0.12
