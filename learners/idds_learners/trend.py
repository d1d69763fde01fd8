"""A cheap approximation of a target, by name: what the mean of its process follows."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from idds_core.errors import IddsError
from idds_core.space import Space

__all__ = ["trend_of"]

Array = NDArray[np.float64]

_FIX = "Name a function of numpy arrays, one for each parameter by name, that returns an array of finite numbers."


def _wrong(reference: str, why: str) -> IddsError:
    return IddsError.of("E-LEARNER-013", f"trend {reference} cannot be used", why, "learner.trend", _FIX)


def trend_of(reference: str, space: Space) -> Callable[[Array], Array]:
    """The function ``module:function`` of the parameters, as a function of the unit cube: U (m, d) -> (m,).

    Raises
    ------
    IddsError
        When there is no such function; later, when it fails or returns something else than m finite numbers.

    """
    module, _, name = reference.partition(":")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise _wrong(reference, str(error)) from error

    def trend(U: Array) -> Array:
        if not len(U):
            return np.empty(0)
        columns = space.columns(space.from_unit(U))
        try:
            found = np.broadcast_to(np.asarray(function(**columns), dtype=float), (len(U),))
        except Exception as error:  # somebody else's code
            raise _wrong(reference, f"{type(error).__name__}: {error}") from error
        if not np.isfinite(found).all():
            raise _wrong(reference, f"it gives {float(found[~np.isfinite(found)][0])} at some point of the space")
        return np.asarray(found)

    return trend
