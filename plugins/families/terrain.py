"""Ground for walkers in a plane: the obstacle courses of POET, from ranges and uniforms.

A course is 200 steps of 14/30 m: a flat pad of 20 steps, then obstacles that alternate with 5 to 9 steps of grass.
Wang et al. 2019, "Paired Open-Ended Trailblazer (POET)", and its released code, which extends BipedalWalker-v2.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
_Piece: TypeAlias = tuple[float, float, float, float, float]
_After: TypeAlias = tuple[int, float]  # steps that an obstacle takes, height of the ground after it

STEP = 14.0 / 30.0
"""Metres of a step of terrain; sizes of obstacles are told in steps."""
LENGTH = 200
PAD = 20
GRASS = 10
"""A stretch of grass has half of this to one less; so many steps at the end need not be walked."""
DRAWS = 6
"""Uniforms of each step: unevenness, which obstacle, its size, length of grass, up or down, how many or how high."""
PIECES = LENGTH + 20
"""No course has more pieces: there is at most one a step, and the last obstacle may reach beyond the end."""
PIT = 4
"""Steps that a pit is deep."""
STAIR = 4
"""Steps that a stair is wide."""
SKIN = STEP / 2
"""How thick grass is."""
_NEARBY = 36  # corners within 12 steps: of 13 pieces, and of 5 more that pits add
_SKY, _EARTH, _TURF = np.array([[226, 236, 250], [150, 125, 95], [70, 150, 65]], dtype=np.uint8)


def course(context: Mapping[str, Any], uniform: Floats) -> Floats:
    """[P, 5] pieces of ground, in metres: their surface runs from (x0, z0) to (x1, z1), `depth` below it is solid.

    `uniform` [LENGTH, DRAWS] lies in (0, 1). Ranges that are missing or [0, 0] have no obstacles. Pieces follow each
    other from left to right, but for stumps that float, each of which comes after the piece below it.
    """
    kinds = [name for name in _OBSTACLES if name in context and context[name][1] > 0]
    draws: list[list[float]] = uniform.tolist()
    pieces: list[_Piece] = []
    at, z, velocity = PAD, *_grass(pieces, 0, PAD, 0.0, 0.0, 0.0, draws)
    while at < LENGTH:
        draw = draws[at]
        if kinds:
            steps, z = _OBSTACLES[kinds[int(draw[1] * len(kinds))]](pieces, at * STEP, z, draw, context)
            at += steps
        length = GRASS // 2 + int(draw[3] * (GRASS - GRASS // 2))
        z, velocity = _grass(pieces, at, length, z, velocity, context.get("roughness", 0.0), draws)
        at += length
    return np.array([piece for piece in pieces if piece[2] - piece[0] > 1e-9])


def floats(pieces: Floats) -> NDArray[np.bool_]:
    """[P] whether a piece hangs above the one before it."""
    return np.append(np.zeros(1, dtype=np.bool_), pieces[1:, 0] < pieces[:-1, 2] - 1e-9)


def boxes(pieces: Floats) -> Floats:
    """[PIECES, 5] centre x and z, slope (radians), half length and half thickness of a box for each piece.

    What is left over lies as specks deep below the end of the course.
    """
    x0, z0, x1, z1, depth = pieces.T
    slope, length = np.arctan2(z1 - z0, x1 - x0), np.hypot(x1 - x0, z1 - z0)
    x = (x0 + x1) / 2 + np.sin(slope) * depth / 2
    z = (z0 + z1) / 2 - np.cos(slope) * depth / 2
    result = np.tile([x1[-1], z1[-1] - 100.0, 0.0, 1e-3, 1e-3], (PIECES, 1))
    result[: len(pieces)] = np.stack([x, z, slope, length / 2, depth / 2], axis=1)
    return result


def heights(pieces: Floats, x: NDArray[Any]) -> Floats:
    """[N] height of the surface at `x` [N]; minus infinity where there is no ground."""
    result = np.full(len(x), -np.inf)
    for x0, z0, x1, z1, _ in pieces:
        under = (x >= x0) & (x <= x1)
        result[under] = np.maximum(result[under], z0 + (z1 - z0) * (x[under] - x0) / max(x1 - x0, 1e-9))
    return result


def profile(pieces: Floats) -> Floats:
    """[2 PIECES, 2] x and z of the corners of the surface, left to right; the last is repeated."""
    corners = pieces[:, :4].reshape(-1, 2)
    return np.concatenate([corners, np.tile(corners[-1], (2 * PIECES - len(corners), 1))])


def sight(profiles: Floats, origin: Floats, rays: Floats) -> Floats:
    """[B, R] share of each ray that is free, 1 where it meets no ground.

    Args:
        profiles: [B, 2 PIECES, 2], see `profile`.
        origin: [B, 2] x and z.
        rays: [R, 2] forwards and upwards, metres; forwards from 0 to 12 steps.
    """
    first = (profiles[:, 1::2, 0] < origin[:, :1]).sum(1)  # the piece below the origin; no ray goes backwards
    nearby = np.minimum(2 * first[:, None] + np.arange(_NEARBY), profiles.shape[1] - 1)
    corner = np.take_along_axis(profiles, nearby[:, :, None], axis=1) - origin[:, None]
    x, z = corner[:, :, 0], corner[:, :, 1]
    side = x[:, None] * rays[:, 1, None] - z[:, None] * rays[:, 0, None]  # of each ray on which a corner lies
    above = side >= 0.0
    crossed = above[:, :, 1:] != above[:, :, :-1]
    share = np.full(crossed.shape, np.inf)
    line = x[:, :-1] * z[:, 1:] - x[:, 1:] * z[:, :-1]
    np.divide(line[:, None], side[:, :, :-1] - side[:, :, 1:], out=share, where=crossed)
    share[share < 0.0] = np.inf  # crossed behind the origin
    return np.minimum(share.min(2), 1.0)


def landscape(pieces: Floats, left: float, bottom: float, scale: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    """RGB [height, width, 3], `size` high and wide, `scale` pixels per metre."""
    height, width = size
    x, hanging = left + (np.arange(width) + 0.5) / scale, floats(pieces)
    top = heights(pieces[~hanging], x)
    z = bottom + (np.arange(height)[::-1, None] + 0.5) / scale
    picture = np.tile(_SKY, (height, width, 1))
    picture[z < top] = _EARTH
    picture[(z < top) & (z > top - max(0.2, 2.0 / scale))] = _TURF
    for x0, z0, x1, _, depth in pieces[hanging]:
        picture[(z < z0) & (z > z0 - depth) & (x > x0) & (x < x1)] = _EARTH
    return picture


def _grass(
    pieces: list[_Piece], at: int, length: int, z: float, velocity: float, roughness: float, draws: list[list[float]]
) -> tuple[float, float]:
    """Uneven ground whose last step is flat, for an obstacle to stand on; returns height and velocity at its end."""
    for i in range(at, min(at + length, LENGTH)):
        end = z
        if i < at + length - 1:
            velocity = 0.8 * velocity - 0.01 * float(np.sign(z))
            velocity += (2.0 * draws[i][0] - 1.0) / 30.0 if i >= PAD else 0.0
            end = z + roughness * velocity
        pieces.append((i * STEP, z, (i + 1) * STEP, end, SKIN))
        z = end
    return z, velocity


def _size(draw: list[float], bounds: tuple[float, float]) -> float:
    """Metres."""
    return STEP * (bounds[0] + (bounds[1] - bounds[0]) * draw[2])


def _count(draw: list[float], bounds: tuple[int, int]) -> int:
    """Both ends included."""
    return bounds[0] + int(draw[5] * (bounds[1] - bounds[0] + 1))


def _stump(pieces: list[_Piece], x: float, z: float, draw: list[float], context: Mapping[str, Any]) -> _After:
    """One that floats has grass beneath; the room between is counted in whole steps."""
    height, top = _size(draw, context["stump_height"]), _count(draw, context.get("stump_float", (0, 0))) * STEP
    if not top:
        pieces.append((x, z + height, x + STEP, z + height, height + SKIN))
        return 1, z
    pieces += [(x, z, x + STEP, z, SKIN), (x, z + top + height, x + STEP, z + top + height, height)]
    return 1, z


def _pit(pieces: list[_Piece], x: float, z: float, draw: list[float], context: Mapping[str, Any]) -> _After:
    """The walls are a step wide each; the ground after the pit goes on at the next whole step."""
    gap, floor = _size(draw, context["pit_gap"]), z - PIT * STEP
    near, far, beyond = x + STEP, x + STEP + gap, x + 2 * STEP + gap
    steps = int(np.ceil(gap / STEP - 1e-9)) + 3
    pieces += [
        (x, z, near, z, PIT * STEP + SKIN),
        (near, floor, far, floor, SKIN),
        (far, z, beyond, z, PIT * STEP + SKIN),
        (beyond, z, x + steps * STEP, z, SKIN),
    ]
    return steps, z


def _stairs(pieces: list[_Piece], x: float, z: float, draw: list[float], context: Mapping[str, Any]) -> _After:
    """The first stair is level with the ground; after the last comes a step of ground, lower by a stair going down."""
    height, count, up = _size(draw, context["stair_height"]), _count(draw, context["stair_steps"]), draw[4] > 0.5
    rise, width = height if up else -height, STAIR * STEP
    for stair in range(count):
        here = z + stair * rise
        pieces.append((x + stair * width, here, x + (stair + 1) * width, here, height + SKIN))
    end = z + (count - 1 if up else count) * rise
    pieces.append((x + count * width, end, x + count * width + STEP, end, height + SKIN))
    return count * STAIR + 1, end


_OBSTACLES = {"stump_height": _stump, "pit_gap": _pit, "stair_height": _stairs}
