"""As `evolved_terrain`, after twice as much evolution, whose archive reaches further.

python -m benchmarks.evolved_terrain_longer            POET for 40 minutes, then nine runs of ten minutes on one thread
python -m benchmarks.evolved_terrain_longer archive    one kind of training alone, to be recorded by the above
"""

import sys
from collections.abc import Sequence

from benchmarks import evolved_terrain

ITERATIONS = 400
NAME, EVOLVED = f"{evolved_terrain.NAME}_longer", f"{evolved_terrain.EVOLVED}-{ITERATIONS}"


def main(wanted: Sequence[str] = ()) -> None:
    """See `evolved_terrain.main`."""
    evolved_terrain.main(wanted, NAME, EVOLVED, [f"training.iterations={ITERATIONS}"])


if __name__ == "__main__":
    main(sys.argv[1:])
