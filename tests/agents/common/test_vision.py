"""Convolutions that read images: by hand, in the layout that agents' inputs have, and as a setting of four agents."""

import pytest
import torch

from agents.common.encoding import StepEncoder
from agents.common.vision import Convolution, ImageConfig, Vision
from agents.testing import check_agent
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

CONVOLUTIONS = {"image": {"convolutions": [{"filters": 3}, {"filters": 2, "stride": 2}], "features": 5}}
FAST = {
    "dqn": {"hidden": [4], "warm_up": 0, "updates_per_step": 0.1, "batch": 8},
    "nec": {"hidden": [4], "warm_up": 0, "updates_per_step": 0.1, "batch": 2, "neighbours": 2},
    "ppo": {"hidden": [4], "epochs": 1},
    "rl2": {"network": {"name": "gru", "hidden_size": 4}, "epochs": 1, "gradient_steps": 6},
}


def agent_of(name, settings, family):
    problem = problem_of(family, episodes=2, seed=0, device=torch.device("cpu"), updates=2)
    return build_agent(Part.model_validate({"name": name, **settings}), problem)


def test_features_by_hand():
    """One filter of two pixels' width without padding on an image of one row and two channels, then one feature."""
    seen = Vision(ImageConfig(convolutions=(Convolution(filters=1, size=1, stride=2),), features=2), (1, 3, 2))
    with torch.no_grad():
        seen.layers[0].weight.copy_(torch.tensor([2.0, -1.0]).view(1, 2, 1, 1))
        seen.layers[0].bias.fill_(0.5)
        seen.layers[3].weight.copy_(torch.tensor([[1.0, 3.0], [-1.0, 0.0]]))
        seen.layers[3].bias.copy_(torch.tensor([0.25, 0.0]))
    assert seen.gained == 2 - 6
    pixels = [1.0, 0.5, 9.0, 9.0, 0.0, 1.0]  # of three places, each with its two channels; the middle one is left out
    first, last = 2 * 1.0 - 0.5 + 0.5, 0.0  # 2 * 0 - 1 + .5 is below 0
    found = seen(torch.tensor([[*pixels, 7.0, 8.0]]))
    assert found.tolist() == [[first + 3 * last + 0.25, 0.0, 7.0, 8.0]]


def test_the_layout_is_that_of_what_agents_read():
    torch.manual_seed(0)
    family = build_family("catch", {"observation": "board", "rows": 6, "columns": 4})
    encoder = StepEncoder(family.observation_space, family.action_space)
    seen = Vision(ImageConfig(convolutions=(Convolution(filters=3, stride=2),), features=7), (6, 4, 1))
    board = torch.randint(0, 2, (2, 5, 6, 4, 1), dtype=torch.uint8)
    found = seen(torch.cat([encoder.observation(board), torch.ones(2, 5, 3)], -1))
    expected = seen.layers(board.flatten(0, 1).permute(0, 3, 1, 2).float())
    assert torch.equal(found[..., :7].flatten(0, 1), expected)
    assert torch.equal(found[..., 7:], torch.ones(2, 5, 3))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_any_layers_fit_any_image(size, stride):
    layers = (Convolution(filters=2, size=size, stride=stride),) * 3
    assert Vision(ImageConfig(convolutions=layers), (5, 3, 2))(torch.rand(4, 31)).shape == (4, 65)


@pytest.mark.parametrize("name", FAST)
def test_agents_read_boards(name):
    settings = {**FAST[name], **CONVOLUTIONS}
    check_agent(name, settings, family="catch", family_settings={"observation": "board", "rows": 4, "columns": 3})


@pytest.mark.parametrize("name", FAST)
def test_what_is_no_image_is_refused(name):
    with pytest.raises(UserError, match=r"convolutions read an image, and builtin/catch has the observation space Box"):
        agent_of(name, CONVOLUTIONS, build_family("catch"))


@pytest.mark.parametrize("name", ["dqn", "nec"])
def test_images_are_remembered_as_bytes(name):
    family = build_family("catch", {"observation": "board", "rows": 4})
    agent = agent_of(name, {**FAST[name], **CONVOLUTIONS}, family)
    specs = [family.spec(seed=seed) for seed in range(3)]
    agent.learn(collect(agent, family.batch(3), specs, plan=agent.plan(2)))
    columns = agent.state_dict()["replay"]["columns"]
    images = [name for name in columns if "observation" in name]
    assert images
    assert all(columns[name].dtype == torch.uint8 for name in images)


def test_an_image_has_no_cue():
    class Shown(type(build_family("catch"))):
        cue = (0, 1)

    family = build_family("catch", {"observation": "board"})
    family.__class__ = Shown
    with pytest.raises(UserError, match="remembers by a cue"):
        agent_of("rl2", {"network": "episodic-lstm", **CONVOLUTIONS}, family)
    assert agent_of("rl2", {"network": "episodic-lstm"}, family)
