"""Convolutions that read an image at the beginning of what an agent reads.

Vectors [..., I] begin with the numbers of an image, row by row, each with all its channels, scaled to 0 to 1 as
`StepEncoder` does; what stands behind them, such as a descriptor or the previous action, is passed on as it is. Mnih et
al. 2015, "Human-level control through deep reinforcement learning", methods, model architecture: convolutions with
rectifiers, then a linear layer with one. Here images are padded, so that any size and number of layers fits.

Axes: H height, W width, C channels, F features.
"""

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from registry.config import Config
from registry.errors import UserError
from taskgen.interaction.agent import Problem
from taskgen.spaces import image_shape


class Convolution(Config):
    """One layer of convolutions."""

    filters: int = Field(default=32, ge=1, description="Filters.")
    size: int = Field(default=3, ge=1, description="Height and width of each.")
    stride: int = Field(default=1, ge=1, description="Pixels from one place of a filter to the next.")


class ImageConfig(Config):
    """How images are read."""

    convolutions: tuple[Convolution, ...] = Field(
        default=(), description="Layers of convolutions; none: an image is read as a row of numbers."
    )
    features: int = Field(default=64, ge=1, description="Width of the linear layer behind them.")


class Vision(nn.Module):
    """From vectors that begin with an image to such that begin with its features."""

    def __init__(self, config: ImageConfig, image: tuple[int, int, int]) -> None:
        super().__init__()
        height, width, channels = self._image = image
        self._pixels = math.prod(image)
        self.gained = config.features - self._pixels
        """By how much what comes out is wider than what goes in."""
        layers: list[nn.Module] = []
        for layer in config.convolutions:
            layers += [nn.Conv2d(channels, layer.filters, layer.size, layer.stride, layer.size // 2), nn.ReLU()]
            height, width = (
                (extent + 2 * (layer.size // 2) - layer.size) // layer.stride + 1 for extent in (height, width)
            )
            channels = layer.filters
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * height * width, config.features), nn.ReLU()
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., I] -> [..., F + I - H W C]."""
        image, rest = inputs.tensor_split([self._pixels], -1)
        image = image.reshape(-1, *self._image).movedim(-1, 1)
        return torch.cat([self.layers(image).unflatten(0, inputs.shape[:-1]), rest], -1)


def vision(config: ImageConfig, problem: Problem, inputs: int) -> tuple[list[Vision], int]:
    """What reads the image in front of a network, if anything, and how wide `inputs` are behind it.

    Raises `UserError` where convolutions are asked for and observations are no images.
    """
    if not config.convolutions:
        return [], inputs
    image = image_shape(problem.observation_space)
    if image is None:
        raise UserError(
            f"agent.image.convolutions read an image, and {problem.family} has the observation space "
            f"{problem.observation_space}: take a family or settings of it that show bytes [height, width, channels], "
            "such as catch with observation = board, or leave convolutions out"
        )
    found = Vision(config, image)
    return [found], inputs + found.gained
