"""Variations: distributions of knob values that are data, written as JSON or TOML."""

from typing import Protocol

import numpy as np


class Variation(Protocol):
    """PLACEHOLDER, filled in by its author: maps uniforms in [0,1) to values."""

    def quantile(self, u: np.ndarray, default: float) -> np.ndarray: ...
