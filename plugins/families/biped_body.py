"""The body plan of BipedalWalker, and what it looks like on a course, whoever simulates it."""

import numpy as np
from numpy.typing import NDArray

from plugins.families import terrain
from plugins.families.terrain import STEP, Floats

LEG, HIP = 34.0 / 30.0, -8.0 / 30.0
"""Length of a limb; where the legs hang, below the origin of the hull."""
RADII = (4.0 / 30.0, 3.2 / 30.0)
"""Of upper and lower leg."""
POSTURE = np.array([terrain.PAD / 2 * STEP, 2 * LEG - HIP, 0.0, -0.05, -0.1, 0.05, -0.1])
"""At the start: x, z and angle of the hull, then hip and knee of each leg; the ground has height 0."""
_HULL, _FRONT, _BACK = np.array([[110, 90, 190], [200, 90, 120], [140, 60, 85]], dtype=np.uint8)


def overview(pieces: Floats) -> NDArray[np.uint8]:
    """RGB of the whole course `pieces` [P, 5] from the side, the walker at the start."""
    lowest, highest = pieces[:, [1, 3]].min(), max(pieces[:, [1, 3]].max(), 3.0)
    scale = 7.0
    height = int(np.clip((highest - lowest + 3.0) * scale, 64, 320))
    picture = terrain.landscape(pieces, 0.0, lowest - 1.5, scale, (height, int(terrain.LENGTH * STEP * scale)))
    _draw_walker(picture, POSTURE, 0.0, lowest - 1.5, scale)
    return picture


def closeup(pieces: Floats, posture: Floats) -> NDArray[np.uint8]:
    """RGB [180, 320, 3], 16 m around the walker in `posture` [7]."""
    left, bottom, scale = posture[0] - 5.0, posture[1] - 5.0, 20.0
    picture = terrain.landscape(pieces, left, bottom, scale, (180, 320))
    _draw_walker(picture, posture, left, bottom, scale)
    return picture


def _draw_walker(picture: NDArray[np.uint8], posture: Floats, left: float, bottom: float, scale: float) -> None:
    """The walker into `picture`, in place."""
    height, width, _ = picture.shape
    x = left + (np.arange(width) + 0.5) / scale
    z = bottom + (np.arange(height)[::-1, None] + 0.5) / scale

    def limb(start: Floats, end: Floats, radius: float, colour: Floats) -> None:
        along = end - start
        share = np.clip(((x - start[0]) * along[0] + (z - start[1]) * along[1]) / (along @ along), 0.0, 1.0)
        picture[np.hypot(x - start[0] - share * along[0], z - start[1] - share * along[1]) <= radius] = colour

    hull, tilt = posture[:2], posture[2]
    hip = hull + HIP * _upwards(tilt)
    for first, colour in ((5, _BACK), (3, _FRONT)):
        knee = hip - LEG * _upwards(tilt + posture[first])
        limb(hip, knee, RADII[0], colour)
        limb(knee, knee - LEG * _upwards(tilt + posture[first] + posture[first + 1]), RADII[1], colour)
    forwards = np.array([np.cos(tilt), np.sin(tilt)])
    limb(hull - 0.7 * forwards, hull + 0.85 * forwards, 8.5 / 30, _HULL)


def _upwards(angle: float) -> Floats:
    return np.array([-np.sin(angle), np.cos(angle)])
