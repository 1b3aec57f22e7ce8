"""How often Python looks for garbage: seldom while a command is loaded, which spares an eighth of its imports."""

import gc

_USUAL = gc.get_threshold()


def look_seldom() -> None:
    """From now on: the process is ours and loads what stays."""
    gc.set_threshold(50_000, 20, 20)


def settle() -> None:
    """All that a long command needs is there: it is never looked over again, what comes is as often as Python does.

    In a process that never called `look_seldom`, such as a test's, all stays as it is.
    """
    if gc.get_threshold() != _USUAL:
        gc.freeze()
        gc.set_threshold(*_USUAL)
