"""The three agents, the engine that runs them, and the command line."""
