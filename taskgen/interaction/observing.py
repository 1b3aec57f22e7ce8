"""What a family shows, looked at: whether its observation space holds it. Axes: N rows, P numbers of a row."""

from logging import getLogger

import torch
from torch import Tensor

from registry.errors import brief
from taskgen.batch import TaskBatch
from taskgen.borders import broken
from taskgen.spaces import bounds, image_shape, misfit

_log = getLogger(__name__)
_REMARKED: set[tuple[str, str]] = set()
"""Families and their calls of which something was said."""


class Observing:
    """Looks at what the batches of one family show.

    Whole numbers, such as choices, are read by their place in the space: who shows others is refused. A number out of
    a Box of others is read as it is, so that nothing goes wrong by it: that is said once.
    """

    def __init__(self, batch: TaskBatch) -> None:
        self._family = batch.family
        self._space = batch.family.observation_space
        low, high, whole = (torch.as_tensor(end, device=batch.device) for end in bounds(self._space))
        self._single, self._double = (low.to(torch.float32), high.to(torch.float32)), (low, high)
        self._whole = whole if bool(whole.any()) else None
        self._bytes = image_shape(self._space) is not None

    def look(self, shown: Tensor, call: str, where: Tensor | None = None) -> None:
        """Raise `PluginError` for a whole number in `shown` [..., *row] that the space does not hold.

        `call` gave it; only where the bool tensor `where` [...] is true. A host sync where nothing is odd.
        """
        rows = shown.reshape(-1, len(self._double[0]))
        if self._bytes or not bool(self._may_be_odd(rows)):
            return
        odd = self._odd(rows) if where is None else self._odd(rows) & where.reshape(-1, 1)
        wrong = odd if self._whole is None else odd & self._whole
        for found in (wrong, odd):
            if bool(found.any()):
                row = rows[int(found.any(1).nonzero()[0])].cpu().numpy()
                told = misfit(self._space, row)
                if found is wrong and self._whole is not None:
                    raise broken(self._family, call, f"an observation with {told}", f"one in {brief(self._space)}")
                _remark(self._family.name, call, told)
                return

    def _may_be_odd(self, rows: Tensor) -> Tensor:
        """[] whether anything in `rows` [N, P] is not held by the space, at a few numbers' memory."""
        low, high = self._ends(rows)
        odd = ((rows.amin(0) < low) | (rows.amax(0) > high)).any()
        if self._whole is None or not rows.is_floating_point():
            return odd
        numbers = rows[:, self._whole]
        return odd | (numbers != numbers.floor()).any()

    def _odd(self, rows: Tensor) -> Tensor:
        """[N, P] what is not held by the space."""
        low, high = self._ends(rows)
        odd = (rows < low) | (rows > high)
        return odd if self._whole is None else odd | self._whole & (rows != rows.to(torch.float64).floor())

    def _ends(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self._single if rows.dtype == torch.float32 else self._double  # rounded as what is shown


def _remark(family: str, call: str, told: str) -> None:
    """Once a family and call: the numbers differ from step to step."""
    if (family, call) in _REMARKED:
        return
    _REMARKED.add((family, call))
    _log.warning("%s: %s gave an observation with %s; agents read it as it is", family, call, told)
