"""What a conversation pins, and what always follows the app."""

import msgspec

from kaiwa.domain.app import AppConfig, FormField, ModelConfig, effective
from kaiwa.domain.prompt import PromptMessage

_PINNED = AppConfig(
    model=ModelConfig("openai", "old"),
    prompt_type="advanced",
    pre_prompt="old",
    chat_prompt=(PromptMessage("system", "old"),),
    completion_prompt="old",
    user_prefix="old",
    assistant_prefix="old",
    form=(FormField("text-input", "old"),),
    raw_form=({"text-input": {"variable": "old"}},),
    opening_statement="old",
    suggested_questions=("old",),
    suggestions_enabled=True,
    citations_enabled=False,
    more_like_this_enabled=True,
    blocking=False,
    leaving="stop",
    reasoning="hide",
    max_active_requests=3,
    origins=("https://old.example",),
)
_OURS = {
    "suggestions_enabled", "citations_enabled", "more_like_this_enabled", "blocking", "leaving",
    "reasoning", "max_active_requests", "origins",
}  # fmt: skip


def test_a_turn_keeps_its_conversation_s_prompt_model_and_form_and_takes_all_else_as_it_is_now():
    current = AppConfig(ModelConfig("openai", "new"), pre_prompt="new")
    found = effective(_PINNED, current)
    for field in AppConfig.__struct_fields__:
        source = current if field in _OURS else _PINNED
        assert getattr(found, field) == getattr(source, field), field


def test_a_config_survives_its_way_through_json():
    assert msgspec.json.decode(msgspec.json.encode(_PINNED), type=AppConfig) == _PINNED
