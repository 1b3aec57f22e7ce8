"""Units of work for the tests of `taskgen.maps`: workers import them by name."""

import os
import time
from pathlib import Path


def power(base, exponent):
    return base**exponent


def long_sum(seed):
    """A sum whose last bits depend on the order of adding, and so on the number of threads."""
    import torch

    values = torch.randn(400_000, generator=torch.Generator().manual_seed(seed))
    return float(values.exp().sum()), torch.get_num_threads()


def raises(number):
    if number == 2:
        raise ValueError(f"{number} is not for me")
    return number


def dies_once(flag, number):
    if number == 1 and not Path(flag).exists():
        Path(flag).touch()
        os._exit(3)
    return number * 10


def dies(number):
    if number == 1:
        os._exit(3)
    return number * 10


def hangs_once(flag, number):
    if number == 1 and not Path(flag).exists():
        Path(flag).touch()
        time.sleep(600)
    return number * 10


def hangs(number):
    if number == 1:
        time.sleep(600)
    return number * 10


def unpicklable(number):
    return (lambda: number) if number == 1 else number


def process(number):
    time.sleep(0.05)
    return os.getpid()


def alone(number):
    """Whether the worker computes alone, and leaves interrupts to its parent."""
    import signal

    return os.environ["OMP_NUM_THREADS"], os.environ["TASKGEN_THREADS"], signal.getsignal(signal.SIGINT).name


def computes_and_waits(note, function, *arguments):
    """Keeps the result of `function` to itself: notes its process and waits a minute to be killed."""
    result = function(*arguments)
    written = Path(f"{note}.part")
    written.write_text(str(os.getpid()))
    written.rename(note)
    time.sleep(60)
    return result


def doubled(values):
    """A tensor of a tensor."""
    return values * 2
