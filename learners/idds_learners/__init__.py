"""Learners, conditions, surrogates and contours.

What a scan file needs is importable from here; numpy and scipy are loaded when a learner is asked.
"""

from __future__ import annotations

from idds_learners.conditions import BoundaryConverged, CoreHours, MaxIterations, MaxPoints, Wall
from idds_learners.follow import Follow, When
from idds_learners.level_set import LevelSet
from idds_learners.pruning import MedianRule
from idds_learners.sweep import Sobol

__all__ = [
    "BoundaryConverged",
    "CoreHours",
    "Follow",
    "LevelSet",
    "MaxIterations",
    "MaxPoints",
    "MedianRule",
    "Sobol",
    "Wall",
    "When",
]
