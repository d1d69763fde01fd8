from __future__ import annotations

import pytest

from idds_core.ports import JobSpec, Provider
from idds_core.providers.local import LocalProvider
from idds_core.testing.provider_laws import MakeSpec, ProviderLaws
from tests.core.providers.kit import Specs


class _Local(ProviderLaws):
    @pytest.fixture
    def provider(self, local: LocalProvider) -> Provider:
        return local


class TestFunctions(_Local):
    @pytest.fixture
    def make_spec(self, specs: Specs) -> MakeSpec:
        def make(behaviour: str, key: str) -> JobSpec:
            if behaviour == "linger":
                return specs.function("waits", {"path": str(specs.root / f"told-{key}")}, key=key)
            if behaviour == "fatal":
                return specs.function("toys:nowhere", key=key)
            if behaviour == "fail":
                return specs.function("raises", {"x": 1.0}, key=key)
            return specs.function("double", {"x": 2.0}, key=key)

        return make


class TestCommands(_Local):
    @pytest.fixture
    def make_spec(self, specs: Specs) -> MakeSpec:
        def make(behaviour: str, key: str) -> JobSpec:
            if behaviour == "linger":
                return specs.command("sleep", "1000", key=key)
            if behaviour == "fatal":
                return specs.command("no-such-program", key=key)
            if behaviour == "fail":
                return specs.shell("echo wrong; exit 2", key=key)
            return specs.shell("echo '{\"y\": 1}' > r", result="r", key=key)

        return make
