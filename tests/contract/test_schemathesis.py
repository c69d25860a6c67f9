"""Requests made from the OpenAPI document: the server answers as the document says, never with 5xx.

Only answers are judged: the server takes more than the document shows, and says so in its guide.
"""

import os
from collections.abc import AsyncIterator, Mapping
from typing import Protocol, cast

import anyio.to_thread
import pytest
import requests
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis import Config, GenerationMode
from schemathesis.errors import FailureGroup

from kaiwa.api.routes import ROUTES, Route
from tests.support.apps import app_file, says
from tests.support.attacks import TAKES_DOCUMENTS, keep_page, upload_text
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

TORTURE = int(os.environ.get("KAIWA_TORTURE", "0"))
EXAMPLES = TORTURE or 60
SECONDS = 20
CONFIG = """
[checks]
# Bodies are read leniently: wrong types are taken, unknown fields passed over.
negative_data_rejection.enabled = false
# An id that is no UUID fits the document, and is refused.
positive_data_acceptance.enabled = false
"""


class Answer(Protocol):
    status_code: int


class Case(Protocol):
    """One request, as schemathesis makes it; its own types say less."""

    path_parameters: object
    query: object
    body: object

    def call(
        self,
        base_url: str,
        session: requests.Session,
        headers: dict[str, str],
        *,
        timeout: float,
    ) -> Answer: ...

    def validate_response(self, response: Answer, *, headers: dict[str, str]) -> None: ...


class Operation(Protocol):
    """One operation of the document."""

    def as_strategy(self, generation_mode: GenerationMode) -> SearchStrategy[Case]: ...


class Target:
    """An operation of the document, and what is there for its requests to meet."""

    def __init__(
        self, url: str, key: str, operation: Operation, ids: Mapping[str, object], good: set[int]
    ) -> None:
        """`good`: statuses of which some of its answers must have one."""
        self.url = url
        self.headers = {"Authorization": f"Bearer {key}"}
        self.operation = operation
        self.ids = ids
        self.good = good


@pytest.fixture(scope="module")
async def patient(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestServer]:
    """A server that takes any number of wrong keys, for some of the requests have such."""
    async with serving(tmp_path_factory.mktemp("made"), failed_keys=1_000_000_000) as server:
        yield server


# A form with a file and a signature cannot be made up: test_uploads has them.
MADE_UP = [route for route in ROUTES if not route.upload and not route.sends_file]


@pytest.fixture(params=MADE_UP, ids=lambda route: f"{route.method} {route.path}")
async def target(patient: TestServer, request: pytest.FixtureRequest) -> Target:
    route: Route = request.param
    client = await patient.client(
        app_file(
            says("Fine."),
            suggested_questions_after_answer={"enabled": True},
            file_upload=TAKES_DOCUMENTS,
            text_to_speech={"enabled": True},
        )
    )
    asked = (await client.ask("Hello", auto_generate_name=False)).body
    ids = {
        "user": client.user,
        "task_id": asked["task_id"],
        "file_id": await upload_text(client),
        "message_id": asked["message_id"],
        "first_id": asked["message_id"],
        "conversation_id": asked["conversation_id"],
        "last_id": asked["conversation_id"],
    }
    key = client.key
    lists: dict[str, list[str]] = {}
    if route.knowledge:
        librarian = await patient.knowledge_client()
        ids, key = await keep_page(patient, librarian), librarian.key
        ids["action"] = "enable"
        lists["document_ids"] = [ids["document_id"]]
    document = (await client.call("GET", "/../openapi.json")).body
    schema = schemathesis.openapi.from_dict(document, config=Config.from_str(CONFIG))
    operation = cast(Operation, schema[route.path][route.method])
    # A decision is good once, for a message that waits: test_approvals has some.
    # A name is taken once, so 409 is a well-made request too.
    good = {400} if route.path.endswith("/approvals") else {route.status, 409}
    return Target(patient.url, key, operation, ids | lists, good)


def aim(case: Case, ids: Mapping[str, object]) -> None:
    """Put what is there in the place of what was made up."""
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            made_up = cast("dict[str, object]", part)
            made_up.update({name: ids[name] for name in ids if name in made_up})


def attack(target: Target, statuses: set[int]) -> None:
    """Send all requests, with and without what the document wants; collects the statuses."""
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    cases = st.sampled_from(modes).flatmap(target.operation.as_strategy)
    with requests.Session() as session:

        @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=not TORTURE)
        @given(case=cases, aimed=st.booleans())
        def attempt(case: Case, aimed: bool) -> None:
            if aimed:
                aim(case, target.ids)
            response = case.call(target.url, session, target.headers, timeout=SECONDS)
            case.validate_response(response, headers=target.headers)
            statuses.add(response.status_code)

        try:
            attempt()
        except FailureGroup as failures:  # no `Exception`: it would take the event loop with it
            raise AssertionError(str(failures)) from None


async def test_every_answer_is_as_the_document_says(target: Target) -> None:
    statuses: set[int] = set()
    await anyio.to_thread.run_sync(attack, target, statuses)
    assert target.good & statuses
