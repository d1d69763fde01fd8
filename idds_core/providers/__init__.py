"""What the engine stands on behind its ports: the places that run jobs."""
