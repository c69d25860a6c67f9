"""An app's file: what is read, what is told, what is refused and where."""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.app import AppConfig, FormField, ModelConfig, Site, SpeechConfig
from kaiwa.domain.dsl import read_dsl
from kaiwa.domain.file import FileRules
from kaiwa.domain.knowledge import KnowledgeConfig
from kaiwa.domain.prompt import PromptMessage
from kaiwa.errors import OperatorError

_EXPORT = (Path(__file__).parent / "files" / "order_helper.yml").read_text("utf-8")
_EXAMPLES = Path(__file__).parents[2] / "examples"
_START = """\
app: {name: A, mode: chat}
model_config:
  model: {provider: openai, name: m}
  pre_prompt: p
"""


def _fault(text: str) -> str:
    with pytest.raises(OperatorError) as refusal:
        read_dsl(text, "a.yml")
    return str(refusal.value)


def _config(text: str) -> AppConfig:
    draft, notes = read_dsl(_START + text, "a.yml")
    assert notes == []
    return draft.config


def test_a_whole_export_is_understood():
    draft, notes = read_dsl(_EXPORT, "order.yml")
    assert (draft.id, draft.name, draft.mode, draft.api_enabled) == (
        None, "Order helper", "chat", True,
    )  # fmt: skip
    assert draft.source == _EXPORT
    assert draft.site == Site(title="Order helper", description="Helps with orders")
    assert draft.config == AppConfig(
        model=ModelConfig(
            "langgenius/openai/openai",
            "gpt-4o-mini",
            params={"max_tokens": 800, "response_format": "text", "temperature": 0.3},
        ),
        pre_prompt="You help {{customer}} with orders.",
        form=(
            FormField("text-input", "customer", required=True, max_length=40),
            FormField("select", "tier", default="basic", options=("gold", "basic")),
            FormField("paragraph", "notes"),
            FormField("number", "parcels", default=3),
        ),
        raw_form=draft.config.raw_form,
        opening_statement="Hello {{customer}}, what can I do?",
        suggested_questions=("Where is my parcel?",),
        suggestions_enabled=True,
        files=FileRules(extensions=("jpg", "png")),
        speech=SpeechConfig("alloy", "en-US"),
        knowledge=KnowledgeConfig(("2f0c1c1e-0000-4000-8000-000000000001",)),
    )
    assert notes == [
        "dependencies: plugins are not installed; models are set up on the server",
    ]


def test_the_form_stays_as_the_file_has_it():
    raw_form = read_dsl(_EXPORT, "order.yml")[0].config.raw_form
    assert raw_form[0] == {
        "text-input": {
            "default": "",
            "label": "Customer",
            "max_length": 40,
            "required": True,
            "variable": "customer",
        }
    }
    assert raw_form[2] == {
        "paragraph": {
            "default": "",
            "label": "2024",
            "max_length": "",
            "required": False,
            "variable": "notes",
        }
    }


@pytest.mark.parametrize("name", ["demo.yml", "assistant.yml"])
def test_the_examples_are_understood_without_remarks(name: str):
    draft, notes = read_dsl((_EXAMPLES / name).read_text("utf-8"), name)
    assert notes == []
    assert draft.config.suggestions_enabled
    assert draft.config.pre_prompt


def test_the_example_of_an_agent_is_understood_without_remarks():
    draft, notes = read_dsl((_EXAMPLES / "agent.yml").read_text("utf-8"), "agent.yml")
    assert notes == []
    assert draft.mode == "agent-chat"
    assert draft.config.agent
    assert [tool.name for tool in draft.config.agent.tools] == ["current_time", "eval_expression"]


def test_the_demo_asks_for_the_default_model_and_has_short_passages():
    draft, _ = read_dsl((_EXAMPLES / "demo.yml").read_text("utf-8"), "demo.yml")
    assert (draft.config.model.provider, draft.config.model.name) == ("kaiwa", "default")
    assert len(draft.config.suggested_questions) == 3
    about = (_EXAMPLES / "about.md").read_text("utf-8")
    for text in (draft.config.pre_prompt, about):
        assert all(len(passage) < 600 for passage in text.split("\n\n"))
    assert "{{" not in draft.config.pre_prompt
    assert draft.config.knowledge
    assert draft.config.knowledge.bases == ("Kaiwa guide",)


def test_the_kaiwa_block_is_read():
    draft, notes = read_dsl(
        _START
        + """\
kaiwa:
  id: 2F0C1C1E-0000-4000-8000-000000000001
  api_enabled: false
  blocking: false
  leaving: stop
  reasoning: hide
  limits: {concurrent: 20}
  origins: ["https://a.example", "http://localhost:3000", "*"]
  site: {copyright: 2024, default_language: zh-Hans, chat_color_theme_inverted: true}
""",
        "a.yml",
    )
    assert notes == []
    assert draft.id == UUID("2f0c1c1e-0000-4000-8000-000000000001")
    assert not draft.api_enabled
    config = draft.config
    assert (config.blocking, config.leaving, config.reasoning) == (False, "stop", "hide")
    assert config.max_active_requests == 20
    assert config.origins == ("https://a.example", "http://localhost:3000", "*")
    assert draft.site == Site(
        title="A", copyright="2024", default_language="zh-Hans", chat_color_theme_inverted=True
    )


def test_a_small_file_has_the_defaults():
    draft, notes = read_dsl(_START, "a.yml")
    assert notes == []
    assert draft.api_enabled
    assert draft.site == Site(title="A")
    assert draft.config == AppConfig(ModelConfig("openai", "m"), pre_prompt="p")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("123", "123"),
        ("yes", "yes"),
        ("0.10", "0.10"),
        ("2024-01-02", "2024-01-02"),
        ("1:30", "1:30"),
        ('"\\uD800\\0x"', "?x"),
        ("=", "="),
    ],
)
def test_a_name_is_text_however_yaml_reads_it(name: str, expected: str):
    text = _START.replace("{name: A, mode: chat}", f"\n  name: {name}\n  mode: chat")
    assert read_dsl(text, "a.yml")[0].name == expected


def test_an_advanced_prompt_is_read():
    config = _config(
        """\
  prompt_type: advanced
  chat_prompt_config:
    prompt: [{role: system, text: You are {{x}}}, {role: user, text: null}]
""".replace("You are {{x}}", "'You are {{x}}'")
    )
    assert config.prompt_type == "advanced"
    assert config.chat_prompt == (
        PromptMessage("system", "You are {{x}}"),
        PromptMessage("user", ""),
    )


def test_a_completion_model_is_read():
    text = _START.replace("name: m", "name: m, mode: completion, completion_params: {stop: X}")
    text += """\
  prompt_type: advanced
  completion_prompt_config:
    prompt: {text: 'Q: {{#query#}}'}
    conversation_histories_role: {user_prefix: Q, assistant_prefix: null}
"""
    config = read_dsl(text, "a.yml")[0].config
    assert config.model == ModelConfig("openai", "m", mode="completion", stop=("X",))
    assert (config.completion_prompt, config.user_prefix) == ("Q: {{#query#}}", "Q")
    assert config.assistant_prefix == "Assistant"


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("  speech_to_text: {enabled: true, loud: true}", "speech_to_text.loud: unknown, ignored"),
        ("  text_to_speech: {colour: red}", "text_to_speech.colour: unknown, ignored"),
        (
            "  sensitive_word_avoidance: {enabled: true, type: keywords, colour: red, config:"
            " {keywords: x, inputs_config: {enabled: true, preset_response: No.}}}",
            "sensitive_word_avoidance.colour: unknown, ignored",
        ),
        (
            "  annotation_reply: {enabled: true, score_threshold: 0.9}",
            "annotation_reply: annotation replies are not honoured yet",
        ),
        ("  file_upload: {colour: red}", "file_upload.colour: unknown, ignored"),
        (
            "  more_like_this: {enabled: true}",
            "more_like_this: more like this is not honoured yet, only told to clients",
        ),
        (
            "  external_data_tools: [{enabled: false}, {enabled: true, variable: x, type: web}]",
            "external_data_tools.1.type: external data tools of the type 'web' are not honoured",
        ),
        (
            "  agent_mode: {enabled: true, strategy: router, tools: [{sensitive-word: {id: x}}]}",
            "agent_mode.tools.0: such tools are not honoured",
        ),
        (
            "  agent_mode: {enabled: true, tools: [{tool_name: clock, enabled: true}]}",
            "agent_mode: tools are used by agents alone; the mode of this app is chat",
        ),
        (
            "  dataset_query_variable: q",
            "dataset_query_variable: is for completion apps only, ignored",
        ),
        (
            "  user_input_form: [{file: {variable: f, label: F, default: {a: b}}}]",
            "user_input_form.0.file.default: a file cannot be one, only passed on to clients",
        ),
        (
            "  user_input_form: [{external_data_tool: {variable: f, label: F, type: web}}]",
            "user_input_form.0.external_data_tool.type: external data tools of the type 'web' are"
            " not honoured",
        ),
        (
            "  user_input_form: [{number: {variable: f, label: F, colour: red}}]",
            "user_input_form.0.number.colour: unknown, only passed on to clients",
        ),
        ("  colour: red", "colour: unknown, ignored"),
        ("  retriever_resource: {enabeld: true}", "retriever_resource.enabeld: unknown, ignored"),
        ("  chat_prompt_config: {promt: []}", "chat_prompt_config.promt: unknown, ignored"),
    ],
)
def test_what_is_switched_on_and_not_honoured_is_told(text: str, note: str):
    assert read_dsl(_START + text, "a.yml")[1] == [f"model_config.{note}"]


@pytest.mark.parametrize(
    "text",
    [
        "  speech_to_text: {enabled: false}",
        "  speech_to_text: null",
        "  text_to_speech: {}",
        "  file_upload: {enabled: false, image: {enabled: true}}",
        "  agent_mode: {enabled: false, strategy: function_call, tools: [{tool_name: x}]}",
        "  dataset_configs: {datasets: {datasets: [{dataset: {enabled: false, id: x}}]}}",
        "version: 0.5",
        "version: 99.0.0",
        "dependencies: []",
        "kind: app",
    ],
)
def test_what_is_switched_off_is_not_worth_a_word(text: str):
    assert read_dsl(_START + text, "a.yml")[1] == []


def test_other_remarks_name_their_key():
    text = _START.replace("mode: chat", "mode: chat, icon: x.png, icon_type: image, color: red")
    draft, notes = read_dsl(text + "kind: other\nworkflow: {}\n", "a.yml")
    assert draft.site.icon == "🤖"
    assert notes == [
        "app.icon_type: icons other than emoji are not honoured yet",
        "app.color: unknown, ignored",
        "kind: taken as 'app'",
        "workflow: unknown, ignored",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            "mode: chat",
            "mode: workflow",
            "1: app.mode: 'workflow' apps are not supported; it can be 'chat' or 'agent-chat'",
        ),
        (", mode: chat", "", "1: app.mode: is missing"),
        ("name: A", "name: ''", "1: app.name: must not be empty"),
        ("name: A", "name: [A]", "1: app.name: must be text"),
        ("name: A, ", "", "1: app.name: is missing"),
        ("app: {name: A, mode: chat}", "kind: app", "1: app: is missing"),
        ("app: {name: A, mode: chat}", "app: A", "1: app: must be a block of keys and values"),
        ("  pre_prompt: p\n", "", "2: model_config.pre_prompt: is missing"),
        ("model: {provider: openai, name: m}", "x: y", "2: model_config.model: is missing"),
        ("provider: openai, ", "", "3: model_config.model.provider: is missing"),
        ("name: m", "name: ' '", "3: model_config.model.name: must not be empty"),
        (
            "name: m",
            "name: m, mode: llm",
            "3: model_config.model.mode: must be one of chat, completion; it is 'llm'",
        ),
        (
            "name: m",
            "name: m, completion_params: {stop: [a, b, c, d, e]}",
            "3: model_config.model.completion_params.stop: must have at most 4 texts",
        ),
        (
            "name: m",
            "name: m, completion_params: {top_p: .inf}",
            "3: model_config.model.completion_params.top_p: must be a finite number",
        ),
        (
            "name: m",
            "name: m, completion_params: {top_p: !!binary AAAA}",
            "3: model_config.model.completion_params.top_p: the tag "
            "tag:yaml.org,2002:binary is not understood",
        ),
        (
            "name: m",
            "name: m, name: n",
            "3: model_config.model.name: is there twice, first in line 3",
        ),
        ("pre_prompt: p", "pre_prompt: {a: b}", "4: model_config.pre_prompt: must be text"),
    ],
)
def test_a_fault_names_file_line_and_key(old: str, new: str, fault: str):
    assert old in _START
    assert _fault(_START.replace(old, new, 1)) == f"a.yml:{fault}"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "  agent_mode: {max_iteration: 0}",
            "5: model_config.agent_mode.max_iteration: must be a whole number of at least 1",
        ),
        (
            "  speech_to_text: {enabled: maybe}",
            "5: model_config.speech_to_text.enabled: must be true or false",
        ),
        (
            "  prompt_type: fancy",
            "5: model_config.prompt_type: must be one of simple, advanced; it is 'fancy'",
        ),
        (
            "  chat_prompt_config:\n    prompt:\n    - {role: system, text: a}\n    - {role: tool}",
            "8: model_config.chat_prompt_config.prompt.1.role: must be one of system, user, "
            "assistant; it is 'tool'",
        ),
        (
            "  chat_prompt_config: {prompt: [" + "{role: user, text: a}, " * 11 + "]}",
            "5: model_config.chat_prompt_config.prompt.10: a prompt must have at most 10 messages",
        ),
        ("  suggested_questions: What?", "5: model_config.suggested_questions: must be a list"),
        ("kaiwa: {colour: red}", "5: kaiwa.colour: is not a key of this block"),
        ("kaiwa:\n  site:\n    x: y", "7: kaiwa.site.x: is not a key of this block"),
        ("kaiwa: {limits: {tokens: 1}}", "5: kaiwa.limits.tokens: is not a key of this block"),
        (
            "kaiwa: {limits: {concurrent: -1}}",
            "5: kaiwa.limits.concurrent: must be a whole number of at least 0",
        ),
        ("kaiwa: {id: 12}", "5: kaiwa.id: must be a UUID"),
        ("kaiwa: {leaving: go}", "5: kaiwa.leaving: must be one of finish, stop; it is 'go'"),
        ("kaiwa: {reasoning: x}", "5: kaiwa.reasoning: must be one of answer, hide; it is 'x'"),
        (
            "kaiwa: {origins: ['https://a.example/x']}",
            "5: kaiwa.origins.0: must be an origin such as https://chat.example.com, "
            "without a path",
        ),
        ("<<: {a: b}", "5: (file): has a key that is not plain text"),
        ("[a]: b", "5: (file): has a key that is not plain text"),
        ("version: !!int x", "5: version: is not a value of the kind tag:yaml.org,2002:int"),
    ],
)
def test_a_fault_further_down_names_its_own_line(text: str, fault: str):
    assert _fault(_START + text) == f"a.yml:{fault}"


@pytest.mark.parametrize(
    ("field", "fault"),
    [
        ("{text-input: {label: L}}", "6: {}.text-input.variable: is missing"),
        ("{text-input: {variable: v}}", "6: {}.text-input.label: is missing"),
        (
            "{text-input: {variable: 1v, label: L}}",
            "6: {}.text-input.variable: must be letters, digits and underscores, at most 100, "
            "not beginning with a digit",
        ),
        (
            "{text-input: {variable: v, label: L, max_length: 0}}",
            "6: {}.text-input.max_length: must be a whole number of at least 1",
        ),
        (
            "{text-input: {variable: v, label: L, required: sure}}",
            "6: {}.text-input.required: must be true or false",
        ),
        ("{select: {variable: v, label: L}}", "6: {}.select.options: is missing"),
        (
            "{select: {variable: v, label: L, options: []}}",
            "6: {}.select.options: must have at least one option",
        ),
        (
            "{select: {variable: v, label: L, options: [a, a]}}",
            "6: {}.select.options: has an option twice",
        ),
        (
            "{select: {variable: v, label: L, options: [a], default: b}}",
            "6: {}.select.default: must be one of the options; it is 'b'",
        ),
        ("{number: {variable: v, label: L, default: x}}", "6: {}.number.default: must be a number"),
        (
            "{checkbox: {variable: v, label: L, default: 1}}",
            "6: {}.checkbox.default: must be true or false",
        ),
        (
            "{json_object: {variable: v, label: L, default: 1}}",
            "6: {}.json_object.default: must be a block of keys and values",
        ),
        (
            "{slider: {variable: v, label: L}}",
            "6: {}.slider: unknown kind of field; it can be text-input, paragraph, select, number, "
            "checkbox, json_object, file, file-list, external_data_tool",
        ),
        (
            "{file: {variable: v, label: L, allowed_file_types: [picture]}}",
            "6: {}.file.allowed_file_types.0: must be one of image, document, audio, video, custom;"
            " it is 'picture'",
        ),
        (
            "{file: {variable: v, label: L, allowed_file_upload_methods: [pigeon]}}",
            "6: {}.file.allowed_file_upload_methods.0: must be one of remote_url, local_file,"
            " tool_file; it is 'pigeon'",
        ),
        (
            "{file-list: {variable: v, label: L, max_length: 0}}",
            "6: {}.file-list.max_length: must be a whole number of at least 1",
        ),
        ("{number: {}, select: {}}", "6: {}: must have exactly one key, the kind of the field"),
        ("text-input", "6: {}: must be a block of keys and values"),
    ],
)
def test_a_faulty_form_field_is_refused(field: str, fault: str):
    found = _fault(_START + f"  user_input_form:\n  - {field}\n")
    assert found == "a.yml:" + fault.replace("{}", "model_config.user_input_form.0", 1)


def test_a_variable_is_there_once():
    field = "{number: {variable: v, label: L}}"
    assert _fault(_START + f"  user_input_form:\n  - {field}\n  - {field}\n") == (
        "a.yml:7: model_config.user_input_form.1.number: the variable 'v' is there twice"
    )


def test_variables_may_be_chinese():
    config = _config("  user_input_form: [{text-input: {variable: 姓名, label: 1}}]\n")
    assert config.form == (FormField("text-input", "姓名"),)
    assert config.raw_form == ({"text-input": {"variable": "姓名", "label": "1"}},)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1: (file): is empty"),
        ("# nothing\n", "1: (file): is empty"),
        ("- a\n", "1: (file): must be a block of keys and values"),
        ("a: b\nc: [d\n", "3: (file): is not YAML:"),
        ("a: b\n---\nc: d\n", "2: (file): is not YAML:"),
        ("a: *b\n", "1: (file): is not YAML:"),
        ("a: b\nc: \0\n", "2: (file): has a character YAML forbids"),
        ("a: " + "[" * 5000, "1: (file): is nested too deeply"),
        ("a: " + "[" * 60 + "]" * 60, "1: a" + ".0" * 50 + ": is nested too deeply"),
        ("a: &x [*x]\n", "1: a" + ".0" * 50 + ": is nested too deeply"),
        ("#" + "x" * 1_000_000, "1: (file): is larger than 1000000 characters"),
    ],
)
def test_what_is_no_readable_yaml_is_refused(text: str, fault: str):
    assert _fault(text).startswith(f"a.yml:{fault}")


def test_an_alias_bomb_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "grows too large" in _fault("\n".join(lines))


def test_a_bomb_of_one_long_text_is_refused():
    text = f"a: &a {'x' * 500_000}\nb: [{', '.join(['*a'] * 100)}]\n"
    assert "grows too large" in _fault(text)


def test_an_alias_is_what_it_stands_for():
    text = _START.replace("pre_prompt: p", "pre_prompt: &p Hello") + "  opening_statement: *p\n"
    assert read_dsl(text, "a.yml")[0].config.opening_statement == "Hello"


@given(st.text(alphabet="ab:{}[]-!&*<>|#'\"\n 1.,~?@%\\", max_size=80))
def test_any_text_is_read_or_refused_with_its_line(text: str):
    for candidate in (text, _START + text):
        try:
            read_dsl(candidate, "a.yml")
        except OperatorError as fault:
            int(str(fault).split(":")[1])
