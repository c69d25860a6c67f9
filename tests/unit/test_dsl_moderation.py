"""What an app's file says of moderation and external data: read, noted, or refused."""

from typing import Any

import pytest
import yaml

from kaiwa.domain.app import AppConfig, ExternalDataTool, ModerationConfig, ModerationSide
from kaiwa.domain.dsl import read_dsl
from kaiwa.errors import OperatorError

INPUTS = {"inputs_config": {"enabled": True, "preset_response": " No. "}}
TOOL = {"variable": "weather", "type": "api", "config": {"api_based_extension_id": "ward"}}


def read(
    guarded: dict[str, Any] | None = None, kaiwa: dict[str, Any] | None = None, **config: Any
) -> tuple[AppConfig, list[str]]:
    if guarded is not None:
        config["sensitive_word_avoidance"] = guarded
    text = yaml.safe_dump(
        {
            "app": {"name": "A", "mode": "chat"},
            "model_config": {
                "model": {"provider": "quoting", "name": "quoting"},
                "pre_prompt": "",
                **config,
            },
            "kaiwa": kaiwa or {},
        }
    )
    draft, notes = read_dsl(text, "a.yml")
    return draft.config, notes


def guard(kind: str = "keywords", **details: Any) -> dict[str, Any]:
    return {"enabled": True, "type": kind, "config": INPUTS | details}


def test_keywords_are_lines_without_their_blanks_and_none_is_there_twice() -> None:
    config, notes = read(guard(keywords=" a \n\nb c\r\na\n"))
    side = ModerationSide("No.")
    assert config.moderation == ModerationConfig("keywords", side, None, ("a", "b c"))
    assert notes == []
    assert read(guard(keywords=["a", "b"]))[0].moderation == ModerationConfig(
        "keywords", side, None, ("a", "b")
    )


def test_a_service_needs_no_keywords() -> None:
    config, _ = read(guard("openai_moderation"), {"moderation_down": "open"})
    assert config.moderation == ModerationConfig(
        "openai_moderation", ModerationSide("No."), when_down="open"
    )
    bare = {"inputs_config": {}, "outputs_config": {"enabled": True}}
    config, _ = read(guard("api", api_based_extension_id="ward", **bare))
    assert config.moderation == ModerationConfig("api", None, ModerationSide(""), extension="ward")


def test_what_is_switched_off_is_not_there() -> None:
    for block in ({"enabled": False, "type": "sun"}, {}, {"enabled": False, "config": {"x": 1}}):
        assert read(block)[0].moderation is None


def test_external_data_tools_of_the_list_and_of_the_form_are_the_same() -> None:
    off = {"enabled": False, "variable": "x", "type": "api"}
    another = {**TOOL, "label": "News", "variable": "news"}
    form = [{"external_data_tool": another}, {"external_data_tool": {**TOOL, "label": "W"}}]
    config, _ = read(external_data_tools=[TOOL, off], user_input_form=form)
    assert config.external_data_tools == (
        ExternalDataTool("weather", "ward"),
        ExternalDataTool("news", "ward"),
    )


@pytest.mark.parametrize(
    ("guarded", "note"),
    [
        (guard(keywords="x", colour="red"), "config.colour: unknown, ignored"),
        (
            guard(keywords="x", inputs_config={"enabled": True, "preset_response": "n", "a": 1}),
            "config.inputs_config.a: unknown, ignored",
        ),
        (guard(keywords="x") | {"colour": "red"}, "colour: unknown, ignored"),
    ],
)
def test_what_is_unknown_is_told(guarded: dict[str, Any], note: str) -> None:
    _, notes = read(guarded)
    assert [line for line in notes if line.endswith(f"sensitive_word_avoidance.{note}")]


EMPTY = {"enabled": True, "preset_response": " "}


@pytest.mark.parametrize(
    ("guarded", "fault"),
    [
        ({"enabled": "sure"}, "enabled: must be true or false"),
        ({"enabled": True, "config": {}}, "type: is missing"),
        (guard("sun"), "type: must be one of keywords, openai_moderation, api; it is 'sun'"),
        (guard(), "config.keywords: is missing"),
        (guard(keywords=" \n "), "config.keywords: must have at least one word, each on a line"),
        (guard(keywords=[]), "config.keywords: must have at least one word, each on a line"),
        (guard(keywords=["a", {}]), "config.keywords.1: must be text"),
        (
            guard(keywords="\n".join(map(str, range(10_001)))),
            "config.keywords: must have at most 10000 words",
        ),
        (
            guard(keywords="\n".join(f"{number:0>150}" for number in range(1400))),
            "config.keywords: must have at most 200,000 characters in all",
        ),
        (guard(keywords="x" * 201), "is longer than 200 characters"),
        (guard("api"), "config.api_based_extension_id: is missing"),
        (
            guard(keywords="x", inputs_config={"enabled": False}),
            "config: must check the inputs, the outputs or both",
        ),
        (guard(keywords="x", inputs_config=EMPTY), "inputs_config.preset_response: must not be"),
        (
            guard("openai_moderation", outputs_config={"enabled": True}),
            "outputs_config.preset_response: is missing",
        ),
        (guard(keywords="x", inputs_config={"enabled": 2}), "enabled: must be true or false"),
        (guard(keywords="x", outputs_config="on"), "outputs_config: must be a block"),
    ],
)
def test_moderation_that_cannot_be_had_is_refused(guarded: dict[str, Any], fault: str) -> None:
    with pytest.raises(OperatorError) as caught:
        read(guarded)
    assert "model_config.sensitive_word_avoidance." in str(caught.value)
    assert fault in str(caught.value)


def test_what_happens_while_a_service_is_down_is_open_or_closed() -> None:
    with pytest.raises(OperatorError, match=r"kaiwa\.moderation_down: must be one of open,"):
        read(guard(keywords="x"), {"moderation_down": "ajar"})


@pytest.mark.parametrize(
    ("tool", "fault"),
    [
        ({"variable": "x", "type": "api"}, "config.api_based_extension_id: is missing"),
        ({"type": "api", "config": TOOL["config"]}, "variable: is missing"),
        (TOOL | {"enabled": "yes?"}, "enabled: must be true or false"),
    ],
)
def test_a_tool_that_cannot_be_read_is_refused(tool: dict[str, Any], fault: str) -> None:
    with pytest.raises(OperatorError) as caught:
        read(external_data_tools=[tool])
    assert f"model_config.external_data_tools.0.{fault}" in str(caught.value)
