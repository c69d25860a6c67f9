"""What of an app's `file_upload` becomes a rule."""

import pytest

from kaiwa.domain.dsl import read_dsl
from kaiwa.domain.file import FileRules, FileType
from kaiwa.errors import OperatorError

_START = """\
app: {name: A, mode: chat}
kind: app
model_config:
  model: {provider: openai, name: m}
  pre_prompt: Hi.
"""


_ANY: tuple[FileType, ...] = ("image", "document", "audio", "video")


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


@pytest.mark.parametrize(
    ("field", "rules"),
    [
        ("{file: {variable: f, label: F}}", FileRules(True, _ANY, most=10)),
        (
            "{file: {variable: f, label: F, max_length: 48, allowed_file_types: [image],"
            " allowed_file_upload_methods: [remote_url], default: ''}}",
            FileRules(True, ("image",), methods=("remote_url",), most=10),
        ),
        (
            "{file-list: {variable: f, label: F, max_length: 5, allowed_file_types: [custom],"
            " allowed_file_extensions: [.PDF]}}",
            FileRules(True, ("custom",), ("pdf",), most=5),
        ),
        ("{file-list: {variable: f, label: F, max_length: ''}}", FileRules(True, _ANY, most=10)),
        ("{file-list: {variable: f, label: F, max_length: 99}}", FileRules(True, _ANY, most=50)),
        ("{number: {variable: f, label: F}}", FileRules()),
    ],
)
def test_a_field_of_the_form_has_rules_of_its_own(field: str, rules: FileRules) -> None:
    draft, notes = read_dsl(f"{_START}  user_input_form: [{field}]\n", "a.yml")
    assert notes == []
    assert draft.config.form[0].files == rules


def test_a_rule_says_what_it_takes() -> None:
    rules = FileRules(True, ("image", "custom"), ("csv",))
    assert rules.takes("image", "png")
    assert rules.takes("document", "csv")
    assert not rules.takes("document", "pdf")
    assert not rules.takes("custom", "bin")
    assert not FileRules(True).takes("document", "csv")
