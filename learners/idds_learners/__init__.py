"""Learners, conditions, surrogates and contours.

What a scan file needs is importable from here; numpy and scipy are loaded when a learner is asked.
"""

from __future__ import annotations

from idds_learners.ask_tell import AskTell, Gest
from idds_learners.command_learner import CommandLearner
from idds_learners.conditions import BoundaryConverged, CoreHours, MaxIterations, MaxPoints, Wall
from idds_learners.events import Events
from idds_learners.follow import Follow, When
from idds_learners.level_set import LevelSet
from idds_learners.optimum import Optimum
from idds_learners.optuna_sampler import Optuna
from idds_learners.pruning import Asha, MedianRule
from idds_learners.skopt_optimizer import Skopt
from idds_learners.stopping import ExpectedImprovementBelow, NoImprovement, RegretBelow
from idds_learners.sweep import Grid, Random, Sobol

__all__ = [
    "Asha",
    "AskTell",
    "BoundaryConverged",
    "CommandLearner",
    "CoreHours",
    "Events",
    "ExpectedImprovementBelow",
    "Follow",
    "Gest",
    "Grid",
    "LevelSet",
    "MaxIterations",
    "MaxPoints",
    "MedianRule",
    "NoImprovement",
    "Optimum",
    "Optuna",
    "Random",
    "RegretBelow",
    "Skopt",
    "Sobol",
    "Wall",
    "When",
]
