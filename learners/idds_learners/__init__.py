"""Learners, conditions, surrogates and contours.

What a scan file needs is importable from here; numpy and scipy are loaded when a learner is asked.
"""

from __future__ import annotations

from idds_learners.conditions import BoundaryConverged, CoreHours, MaxIterations, MaxPoints, Wall
from idds_learners.follow import Follow, When
from idds_learners.level_set import LevelSet
from idds_learners.optimum import Optimum
from idds_learners.pruning import Asha, MedianRule
from idds_learners.stopping import ExpectedImprovementBelow, NoImprovement, RegretBelow
from idds_learners.sweep import Grid, Random, Sobol

__all__ = [
    "Asha",
    "BoundaryConverged",
    "CoreHours",
    "ExpectedImprovementBelow",
    "Follow",
    "Grid",
    "LevelSet",
    "MaxIterations",
    "MaxPoints",
    "MedianRule",
    "NoImprovement",
    "Optimum",
    "Random",
    "RegretBelow",
    "Sobol",
    "Wall",
    "When",
]
