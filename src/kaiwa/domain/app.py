"""An app and its configuration: what a team writes down about an assistant."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from kaiwa.domain.file import FileRules
from kaiwa.domain.knowledge import KnowledgeConfig
from kaiwa.domain.message import JsonValue
from kaiwa.domain.prompt import PromptMessage

FieldKind = Literal[
    "text-input",
    "paragraph",
    "select",
    "number",
    "checkbox",
    "json_object",
    "file",
    "file-list",
    "external_data_tool",
]
FILE_KINDS: tuple[FieldKind, ...] = ("file", "file-list")


class ModelConfig(Struct, frozen=True):
    """The model an app wants, in the words of its file."""

    provider: str
    name: str
    mode: Literal["chat", "completion"] = "chat"
    params: dict[str, JsonValue] = {}
    stop: tuple[str, ...] = ()


class FormField(Struct, frozen=True):
    """One variable of the app's form."""

    kind: FieldKind
    variable: str
    required: bool = False
    default: JsonValue = None
    max_length: int | None = None
    options: tuple[str, ...] = ()
    files: FileRules = FileRules()
    """What may come, where the kind is one of `FILE_KINDS`."""


class ToolEntry(Struct, frozen=True):
    """A tool that an agent has, in the words of the app's file."""

    type: Literal["builtin", "api", "mcp"]
    provider: str
    """Whose tool it is: a built-in one's own name, an API's or an MCP server's name here."""
    name: str
    label: str = ""
    parameters: dict[str, JsonValue] = {}
    """Set by the app, so the model is not asked for them."""


class AgentConfig(Struct, frozen=True):
    """How an app thinks and acts."""

    strategy: Literal["function_call", "react"] = "function_call"
    """What is wished; a model that can call tools is always let do so."""
    max_iteration: int = 10
    """Rounds with tools; one more without them follows."""
    tools: tuple[ToolEntry, ...] = ()
    first_prompt: str = ""
    """For ReAct; empty: our own."""
    next_iteration: str = ""
    approve: tuple[str, ...] = ()
    """Names of tools that are run only when the end user says yes."""


class SpeechConfig(Struct, frozen=True):
    """How an app's answers are spoken."""

    voice: str = ""
    """In the words of the speech provider; empty: its own choice."""
    language: str = ""
    """As `en-US` or `zh-Hans`; empty: the language of each text."""
    auto_play: bool = False
    """Whether answers are spoken while they are written."""
    format: Literal["wav", "mp3"] = "wav"
    """What `/text-to-audio` answers with when its client does not ask for either."""


class ModerationSide(Struct, frozen=True):
    """What is checked is replaced, when it must not be said, by the preset."""

    preset: str = ""


class ModerationConfig(Struct, frozen=True):
    """What must not be said, and who finds out."""

    kind: Literal["keywords", "openai_moderation", "api"]
    inputs: ModerationSide | None = None
    """None: not checked."""
    outputs: ModerationSide | None = None
    keywords: tuple[str, ...] = ()
    extension: str = ""
    """Which of the operator's extensions is asked, for `api`."""
    when_down: Literal["open", "closed"] = "closed"
    """Whether all may be said, or nothing, while the service that checks cannot be asked."""


class ExternalDataTool(Struct, frozen=True):
    """A variable that one of the operator's extensions fills before the model is asked."""

    variable: str
    extension: str


class AppConfig(Struct, frozen=True):
    """One immutable version of an app's configuration."""

    model: ModelConfig
    prompt_type: Literal["simple", "advanced"] = "simple"
    pre_prompt: str = ""
    chat_prompt: tuple[PromptMessage, ...] = ()
    completion_prompt: str = ""
    user_prefix: str = "Human"
    assistant_prefix: str = "Assistant"
    form: tuple[FormField, ...] = ()
    raw_form: tuple[dict[str, JsonValue], ...] = ()
    """`user_input_form` as the file has it; clients read it untouched."""
    opening_statement: str | None = None
    suggested_questions: tuple[str, ...] = ()
    suggestions_enabled: bool = False
    citations_enabled: bool = True
    more_like_this_enabled: bool = False
    blocking: bool = True
    leaving: Literal["finish", "stop"] = "finish"
    """What happens to an answer whose client has left."""
    reasoning: Literal["answer", "hide"] = "answer"
    """Whether the model's reasoning is part of the answer (in `<think>`) or kept apart."""
    max_active_requests: int = 0
    """Turns at once in this app; 0 is no limit of its own."""
    files: FileRules = FileRules()
    agent: AgentConfig | None = None
    """None: it only talks."""
    speech_to_text: bool = False
    """Whether end users may speak."""
    speech: SpeechConfig | None = None
    """None: answers are not spoken."""
    moderation: ModerationConfig | None = None
    external_data_tools: tuple[ExternalDataTool, ...] = ()
    knowledge: KnowledgeConfig | None = None
    """None: it answers from no documents of the operator's."""
    origins: tuple[str, ...] = ()
    """Browser origins that may use this app's keys; empty: as the server's setting says."""


class Site(Struct, frozen=True):
    """How the app presents itself."""

    title: str = ""
    description: str = ""
    icon: str = "🤖"
    icon_background: str = "#FFEAD5"
    icon_type: str = "emoji"
    default_language: str = "en-US"
    copyright: str = ""
    privacy_policy: str = ""
    custom_disclaimer: str = ""
    chat_color_theme: str = ""
    chat_color_theme_inverted: bool = False
    use_icon_as_answer_icon: bool = False


class App(Struct, frozen=True):
    """An app as it stands now; `config_id` is its current configuration."""

    id: UUID
    workspace_id: UUID
    name: str
    mode: Literal["chat", "agent-chat"]
    site: Site
    api_enabled: bool
    config_id: UUID


class AppDraft(Struct, frozen=True):
    """An app read from a file, not yet stored."""

    id: UUID | None
    """The id its `kaiwa:` block asks for, if any."""
    name: str
    mode: Literal["chat", "agent-chat"]
    site: Site
    api_enabled: bool
    config: AppConfig
    source: str
    """The text of the file."""


class ApiKey(Struct, frozen=True):
    """A key as the operator sees it: its secret is kept as a hash alone."""

    id: UUID
    app_id: UUID
    app_name: str
    prefix: str
    """The first characters of the secret, enough to tell keys apart."""
    created_at: datetime
    revoked_at: datetime | None


class Caller(Struct, frozen=True):
    """Who asks: a valid key, its app, and the app's current configuration."""

    key_id: UUID
    app: App
    config: AppConfig


def effective(pinned: AppConfig, current: AppConfig) -> AppConfig:
    """What a turn runs with: its conversation's prompt, model, form and tools; all else as now."""
    return replace(
        current,
        model=pinned.model,
        prompt_type=pinned.prompt_type,
        pre_prompt=pinned.pre_prompt,
        chat_prompt=pinned.chat_prompt,
        completion_prompt=pinned.completion_prompt,
        user_prefix=pinned.user_prefix,
        assistant_prefix=pinned.assistant_prefix,
        agent=pinned.agent,
        form=pinned.form,
        raw_form=pinned.raw_form,
        external_data_tools=pinned.external_data_tools,
        opening_statement=pinned.opening_statement,
        suggested_questions=pinned.suggested_questions,
    )
