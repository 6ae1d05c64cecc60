"""The test server, one for all tests that need it."""

from collections.abc import Iterator

import pytest

from tests.hub.hub_client import HubServer


@pytest.fixture(scope="session")
def hub_server() -> Iterator[HubServer]:
    """A Hub in a process of its own."""
    server = HubServer()
    yield server
    server.stop()
