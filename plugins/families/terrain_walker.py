"""A planar biped on POET's obstacle courses: roughness, pits, stumps and stairs are the task.

Courses are those of `plugins.families.obstacle_courses`, the walker is that of `plugins.families.biped`.
"""

from plugins.families.biped import CourseWalker
from plugins.families.obstacle_courses import ObstacleConfig, ObstacleCourses


class TerrainWalkerConfig(ObstacleConfig):
    """Structural settings of `TerrainWalker`."""


class TerrainWalker(ObstacleCourses[TerrainWalkerConfig], CourseWalker[TerrainWalkerConfig]):
    """The biped on flat ground with obstacles whose sizes are drawn from ranges; see `CourseWalker`."""

    def __init__(self, config: TerrainWalkerConfig, *, name: str) -> None:
        super().__init__(config, name=name, horizon=config.horizon)
