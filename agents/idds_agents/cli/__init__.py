"""The command line. Nothing heavy is imported before a verb needs it."""

from idds_agents.cli.entry import main

__all__ = ["main"]
