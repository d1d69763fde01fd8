"""What is believed of hyper-parameters before there are data, and where a first fit begins.

theta (d + 4,) is as in :mod:`idds_learners.kernel`. The lengthscale that grows with the dimension is that of Hvarfner
et al., ICML 2024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Prior"]

Array = NDArray[np.float64]

LENGTHSCALE_BOUNDS = (0.02, 50.0)
VARIANCE_BOUNDS = (1e-3, 1e4)
NUGGET_BOUNDS = (1e-9, 1.0)
SHARE_BOUNDS = (-7.0, 7.0)


@dataclass(frozen=True)
class Prior:
    """Normal priors on theta, and its box.

    Log lengthscale (sqrt 2 + log(d) / 2, sqrt 3), logit of the roughness (-2, 2) and of the additive share (0, 2), log
    output variance (0, 2), log nugget (log 1e-4, 3).
    """

    dimension: int

    @cached_property
    def mean(self) -> Array:
        """(d + 4,) means."""
        length = math.sqrt(2) + 0.5 * math.log(self.dimension)
        return np.array([length] * self.dimension + [-2.0, 0.0, 0.0, math.log(1e-4)])

    @cached_property
    def sd(self) -> Array:
        """(d + 4,) standard deviations."""
        return np.array([math.sqrt(3)] * self.dimension + [2.0, 2.0, 2.0, 3.0])

    @cached_property
    def bounds(self) -> Array:
        """(d + 4, 2) lowest and highest."""
        box = np.log(np.array([LENGTHSCALE_BOUNDS] * self.dimension + [VARIANCE_BOUNDS, NUGGET_BOUNDS]))
        return np.insert(box, self.dimension, [SHARE_BOUNDS, SHARE_BOUNDS], axis=0)

    def starts(self) -> list[Array]:
        """Where a first fit begins: middling, short and long lengthscales."""
        found = []
        for lengthscale in (0.6, 0.2, 2.0):
            start = self.mean.copy()
            start[: self.dimension] = math.log(lengthscale)
            found.append(start)
        return found
