"""Gymnasium's BipedalWalker on a course of pieces of ground; needs Box2D."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.box2d.bipedal_walker import TERRAIN_HEIGHT, BipedalWalker
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from plugins.families import terrain

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportAttributeAccessIssue=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

_SLOP = 0.005
"""Metres below which Box2D takes lengths for none (b2_linearSlop)."""
_GRASS, _STONE = (102, 153, 76), (153, 153, 153)


class BipedalCourse(BipedalWalker):
    """`ranges` and `uniform` are those of `plugins.families.terrain.course`; without `uniform` episodes draw their own.

    Steps, motors, lidar and rewards are Gymnasium's; observations have no bounds, as those of `terrain-walker`. Every
    episode has a world of its own: one that is used again, as Gymnasium's is, remembers the episodes before.
    """

    def __init__(
        self,
        ranges: Mapping[str, Any] | None = None,
        uniform: Sequence[float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        EzPickle.__init__(self, ranges, uniform, render_mode)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (24,), np.float32)
        self.pieces = np.zeros((0, 5))
        """The course of the episode; its ground begins at height 0."""
        self._ranges, self._uniform = ranges or {}, uniform

    def posture(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The course [P, 5], and the walker on it [7], see `plugins.families.biped_body`."""
        hull = cast(Any, self.hull)
        joints = [cast(Any, joint).angle for joint in self.joints]
        return self.pieces, np.array([hull.position.x, hull.position.y - TERRAIN_HEIGHT, hull.angle, *joints])

    def _destroy(self) -> None:
        super()._destroy()
        self.world = type(self.world)()

    def _generate_terrain(self, hardcore: bool) -> None:
        """Surfaces of grass as edges, all else as polygons; what is thinner than Box2D can hold is left out."""
        shape = terrain.LENGTH, terrain.DRAWS
        uniform = self.np_random.random(shape) if self._uniform is None else np.reshape(self._uniform, shape)
        self.pieces = terrain.course(self._ranges, uniform)
        self.terrain, self.terrain_poly = [], []
        for (x0, z0, x1, z1, depth), hangs in zip(self.pieces.tolist(), terrain.floats(self.pieces), strict=True):
            left, right = (x0, TERRAIN_HEIGHT + z0), (x1, TERRAIN_HEIGHT + z1)
            if min(x1 - x0, depth) < _SLOP:
                continue
            if depth == terrain.SKIN and not hangs:
                fixture, colour = self.fd_edge, _GRASS
                fixture.shape.vertices = [left, right]
                self.terrain_poly.append(([left, right, (x1, 0.0), (x0, 0.0)], colour))
            else:
                fixture, colour = self.fd_polygon, _STONE
                fixture.shape.vertices = [left, right, (x1, right[1] - depth), (x0, left[1] - depth)]
            body = self.world.CreateStaticBody(fixtures=fixture)
            body.color1 = body.color2 = colour
            self.terrain.append(body)
        self.terrain.reverse()
