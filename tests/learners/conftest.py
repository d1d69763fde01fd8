"""One BLAS thread: matrices are small here, and threads that wait for one another make it seven times slower."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread() -> Iterator[None]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):
        yield
