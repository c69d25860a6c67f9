"""What inputs keep of a file names it again, and is read with a link by who may have one."""

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import msgspec

from kaiwa.domain.file import FileRules, GivenFile, MessageFile, StoredFile, TransferMethod
from kaiwa.domain.file_objects import keep_file, kept_ids, read_file, with_links
from kaiwa.domain.message import Inputs

_ID, _OTHER = UUID(int=1), UUID(int=2)
_RULES = FileRules(True, ("custom",), ("pdf",))


def kept(method: TransferMethod = "local_file", file_id: UUID = _ID) -> dict[str, Any]:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    file = StoredFile(
        file_id, UUID(int=3), "猫.pdf", 7, "pdf", "application/pdf", "document", "k", moment
    )
    return cast("dict[str, Any]", keep_file(MessageFile(UUID(int=4), file, "inputs", method)))


def test_what_is_kept_survives_json_and_names_the_file_again():
    for method in ("local_file", "remote_url"):
        found = msgspec.json.decode(msgspec.json.encode(kept(method)))
        assert found == kept(method)
        expected = GivenFile("document", method, file_id=_ID)
        assert read_file({**found, "url": "https://a.example/link"}, _RULES) == expected


def test_links_go_to_the_files_that_have_one_and_change_nothing_else():
    inputs: Inputs = {
        "one": kept(),
        "several": [kept(), kept(file_id=_OTHER)],
        "text": str(_ID),
        "nothing": None,
        "more": {**kept(), "more": 1},
        "less": {"upload_file_id": str(_ID)},
    }
    assert kept_ids([inputs, {"one": kept()}]) == [_ID, _ID, _OTHER, _ID]
    assert with_links(inputs, {}) == inputs
    linked = {**kept(), "url": "link"}
    assert with_links(inputs, {_ID: "link"}) == inputs | {
        "one": linked,
        "several": [linked, kept(file_id=_OTHER)],
    }
