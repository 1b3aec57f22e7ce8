"""As `evolved_terrain`, after twice as much evolution: niches joining in as they were made, or their ranges.

python -m benchmarks.evolved_terrain_longer           POET for an hour, then six runs of a quarter each on one thread
python -m benchmarks.evolved_terrain_longer ranges    one kind of training alone, to be recorded by the above
"""

import sys
from collections.abc import Sequence

from benchmarks.evolved_terrain import EVOLVED, compare

ITERATIONS = 400
NAME, KINDS = "evolved_terrain_longer", ("archive-in-order", "ranges")


def main(wanted: Sequence[str] = ()) -> None:
    """See `benchmarks.evolved_terrain.compare`."""
    compare(wanted, NAME, KINDS, f"{EVOLVED}-{ITERATIONS}", [f"training.iterations={ITERATIONS}"])


if __name__ == "__main__":
    main(sys.argv[1:])
