"""What the tests of learners share."""

from hypothesis import HealthCheck, settings

quick = settings(
    derandomize=True, deadline=None, max_examples=40, suppress_health_check=list(HealthCheck), database=None
)
