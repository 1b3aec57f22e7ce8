"""Named random streams from one root seed: the only source of randomness in the platform."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def seed_sequence(root: int, *names: str | int) -> np.random.SeedSequence:
    """The seed sequence of the stream `names` under `root`. Adding a stream never moves another one."""
    return np.random.SeedSequence([root, *_words(names)])


def child(parent: np.random.SeedSequence, *names: str | int) -> np.random.SeedSequence:
    """The seed sequence of the stream `names` under `parent`, whatever else was spawned from it."""
    return np.random.SeedSequence(parent.entropy, spawn_key=(*parent.spawn_key, *_words(names)))


def stream(root: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for the stream `names` under `root`."""
    return np.random.Generator(np.random.PCG64(seed_sequence(root, *names)))


def integer_seed(root: int, *names: str | int) -> int:
    """A 63-bit integer for libraries that take an integer seed, such as `torch.Generator.manual_seed`."""
    return int(seed_sequence(root, *names).generate_state(1, np.uint64)[0] >> 1)


def uniforms(parent: np.random.SeedSequence, name: str, first: int, count: int) -> NDArray[np.float64]:
    """[count] uniforms of the stream `name` under `parent`, from number `first` on."""
    return np.random.Generator(np.random.PCG64(child(parent, name)).advance(first)).random(count)


def _words(names: tuple[str | int, ...]) -> list[int]:
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return [int.from_bytes(digest[start : start + 4], "little") for start in range(0, 32, 4)]
