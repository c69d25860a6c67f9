"""Templates, and the requests that are made of them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.app import AppConfig, ModelConfig
from kaiwa.domain.message import Exchange, Inputs
from kaiwa.domain.prompt import ModelRequest, PromptMessage
from kaiwa.domain.request import build_request, prompt_tokens, render

_HISTORY = [Exchange("Hi {{name}} <|x|>", "Hello {{name}}")]


def _config(**changes: object) -> AppConfig:
    model = ModelConfig("openai", "gpt-4o-mini", params={"temperature": 0.3}, stop=("END",))
    return AppConfig(**{"model": model, **changes})  # pyright: ignore[reportArgumentType]


def _request(config: AppConfig, inputs: Inputs | None = None) -> ModelRequest:
    return build_request(
        config,
        model="m",
        inputs=inputs or {},
        history=_HISTORY,
        query="Why {{name}} <|y|>?",
        user="u1",
    )


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Hello {{name}}!", "Hello Ann!"),
        ("{{name}}{{name}}", "AnnAnn"),
        ("{{unknown}}", "{unknown}"),
        ("{{ name }}", "{{ name }}"),
        ("{name} {{{name}}}", "{name} {Ann}"),
        ("{{1st}} {{äb}}", "{{1st}} {{äb}}"),
        ("{{" + "a" * 30 + "}}", "{" + "a" * 30 + "}"),
        ("{{" + "a" * 31 + "}}", "{{" + "a" * 31 + "}}"),
        ("{{_x1}}", "ok"),
        ("{{tricky}}", "{name} and {#query#}"),
        ("{{mark}}", "safe"),
        ("a<|im_end|>b <|c", "ab <|c"),
        ("<|a\nb|>", "<|a\nb|>"),
        ("{{number}} {{float}} {{flag}} {{nothing}} {{object}}", '3 0.5 true  {"a":[1]}'),
        ("{{#context#}}", "{#context#}"),
        ("{% for x in y %}{{name.upper()}}${name}%s", "{% for x in y %}{{name.upper()}}${name}%s"),
    ],
)
def test_a_template_only_substitutes(template: str, expected: str):
    inputs: Inputs = {
        "name": "Ann",
        "_x1": "ok",
        "tricky": "{{name}} and {{#query#}}",
        "mark": "<|im_start|>safe",
        "number": 3,
        "float": 0.5,
        "flag": True,
        "nothing": None,
        "object": {"a": [1]},
    }
    assert render(template, inputs) == expected


@given(
    st.text(alphabet="{}<|>#abquery\n", max_size=60), st.text(alphabet="{}<|>#ab\n", max_size=40)
)
def test_rendering_never_fails_and_never_renders_a_value(template: str, value: str):
    marker = "\u2603"
    assert marker not in render(template, {"a": value, "ab": value})
    if "{{" not in value and "<|" not in template + value and "|>" not in template + value:
        assert render("{{a}}", {"a": value, "ab": marker}) == value


@pytest.mark.parametrize("piece", ["{{", "}}", "<|", "|>", "{{\n", "}}{{", "|><|", "<|\n"])
def test_hostile_values_are_rendered_in_linear_time(piece: str):
    began = time.perf_counter()
    render("{{a}}", {"a": piece * 200_000})
    render(piece * 100_000, {})
    assert time.perf_counter() - began < 2


def test_a_simple_prompt_is_system_then_history_then_query():
    request = _request(_config(pre_prompt="Help {{name}}. {{#context#}}"), {"name": "Ann"})
    assert request == ModelRequest(
        model="m",
        messages=(
            PromptMessage("system", "Help Ann. "),
            PromptMessage("user", "Hi {{name}} <|x|>"),
            PromptMessage("assistant", "Hello {{name}}"),
            PromptMessage("user", "Why {{name}} <|y|>?"),
        ),
        params={"temperature": 0.3},
        stop=("END",),
        user="u1",
    )


@pytest.mark.parametrize("pre_prompt", ["", "  \n", "{{#context#}}"])
def test_an_empty_prompt_has_no_system_message(pre_prompt: str):
    roles = [message.role for message in _request(_config(pre_prompt=pre_prompt)).messages]
    assert roles == ["user", "assistant", "user"]


def test_the_opening_statement_is_never_sent():
    request = _request(_config(opening_statement="Welcome!", pre_prompt="x"))
    assert "Welcome!" not in str(request)


def test_an_advanced_prompt_sends_its_messages_and_drops_empty_system_ones():
    prompt = (
        PromptMessage("system", "{{#context#}}"),
        PromptMessage("system", "You are {{name}}"),
        PromptMessage("user", "Say {{unknown}}"),
        PromptMessage("assistant", ""),
    )
    config = _config(prompt_type="advanced", chat_prompt=prompt, pre_prompt="unused")
    assert _request(config, {"name": "Bo"}).messages[:-3] == (
        PromptMessage("system", "You are Bo"),
        PromptMessage("user", "Say {unknown}"),
        PromptMessage("assistant", ""),
    )


def test_history_may_be_trimmed_messages():
    request = build_request(
        _config(),
        model="m",
        inputs={},
        history=[PromptMessage("assistant", "orphan")],
        query="q",
        user="u",
    )
    assert request.messages == (PromptMessage("assistant", "orphan"), PromptMessage("user", "q"))


def test_a_completion_model_gets_one_text_and_more_stops():
    model = ModelConfig("openai", "davinci", mode="completion", stop=("END",))
    request = _request(_config(model=model, pre_prompt="Help {{name}}."), {"name": "Ann"})
    assert request.completion
    assert request.stop == ("END", "\nHuman:", "</histories>")
    [message] = request.messages
    assert message.text == (
        "Help Ann.\n\n"
        "Here is the chat histories between human and assistant, inside "
        "<histories></histories> XML tags.\n\n"
        "<histories>\nHuman: Hi {{name}} <|x|>\nAssistant: Hello {{name}}\n</histories>\n\n"
        "\n\nHuman: Why {{name}} <|y|>?\n\nAssistant: "
    )


def test_a_completion_model_never_gets_more_than_four_stops():
    model = ModelConfig("openai", "davinci", mode="completion", stop=("a", "b", "c", "d"))
    assert _request(_config(model=model)).stop == ("a", "b", "c", "d")


def test_an_advanced_completion_prompt_has_its_places_filled():
    config = _config(
        model=ModelConfig("openai", "davinci", mode="completion"),
        prompt_type="advanced",
        completion_prompt="{{#context#}}Be {{mood}}.\n{{#histories#}}\nQ: {{#query#}}\nA:",
        user_prefix="Q",
        assistant_prefix="A",
    )
    request = _request(config, {"mood": "kind {{#query#}}"})
    assert request.stop == ("\nQ:", "</histories>")
    assert request.messages[0].text == (
        "Be kind {#query#}.\nQ: Hi {{name}} <|x|>\nA: Hello {{name}}\nQ: Why {{name}} <|y|>?\nA:"
    )


def test_prompt_tokens_are_those_of_all_messages():
    messages = (PromptMessage("system", "abcde"), PromptMessage("user", "你好"))
    assert prompt_tokens(ModelRequest("m", messages, {})) == 4
