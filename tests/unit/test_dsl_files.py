"""What of an app's `file_upload` becomes a rule."""

import pytest

from kaiwa.domain.dsl import read_dsl
from kaiwa.domain.file import FileRules
from kaiwa.errors import OperatorError

_START = """\
app: {name: A, mode: chat}
kind: app
model_config:
  model: {provider: openai, name: m}
  pre_prompt: Hi.
"""


def _rules(text: str) -> FileRules:
    draft, notes = read_dsl(f"{_START}  file_upload: {text}\n", "a.yml")
    assert notes == []
    return draft.config.files


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (
            "{image: {enabled: true, number_limits: 2, detail: low, transfer_methods:"
            " [local_file]}}",
            FileRules(True, methods=("local_file",), most=2, detail="low"),
        ),
        (
            "{enabled: true, allowed_file_types: [image, document], number_limits: 5,"
            " allowed_file_upload_methods: [local_file]}",
            FileRules(True, ("image", "document"), methods=("local_file",), most=5),
        ),
        (
            "{enabled: true, allowed_file_types: [custom], allowed_file_extensions: [.PDF, txt]}",
            FileRules(True, ("custom",), ("pdf", "txt")),
        ),
        ("{enabled: false, image: {enabled: true}}", FileRules()),
        ("{}", FileRules()),
    ],
)
def test_what_may_come_with_a_question_is_read_from_old_and_new_exports(
    text: str, rules: FileRules
) -> None:
    assert _rules(text) == rules


@pytest.mark.parametrize(
    "text",
    [
        "{enabled: true, allowed_file_types: [picture]}",
        "{image: {detail: sharp}}",
        "{image: {transfer_methods: [carrier_pigeon]}}",
        "{number_limits: 0}",
        "{number_limits: many}",
    ],
)
def test_a_rule_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match="file_upload"):
        _rules(text)


def test_a_rule_says_what_it_takes() -> None:
    rules = FileRules(True, ("image", "custom"), ("csv",))
    assert rules.takes("image", "png")
    assert rules.takes("document", "csv")
    assert not rules.takes("document", "pdf")
    assert not rules.takes("custom", "bin")
    assert not FileRules(True).takes("document", "csv")
