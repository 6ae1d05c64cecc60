"""The test server."""

from collections.abc import Iterator

import pytest

from tests.hub.hub_client import HubServer


@pytest.fixture(scope="module")
def hub_server() -> Iterator[HubServer]:
    """A Hub in a process of its own, empty whenever a module begins, also for the second time.

    Of tests that are spread over processes, one may come back to a module that it has left.
    """
    server = HubServer()
    yield server
    server.stop()
