"""What every test gets: one event loop library, and no network beyond loopback."""

import pytest
from pytest_socket import socket_allow_hosts


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One loop for the whole run, so that fixtures of any scope can share it."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _loopback_alone() -> None:
    socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)
