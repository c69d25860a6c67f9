"""The same for what an app says of itself: what it can do, how it looks."""

from typing import Any, Literal

from msgspec import Struct

from kaiwa.domain.app import App, AppConfig, ModerationConfig, SpeechConfig
from kaiwa.domain.file import FileRules
from kaiwa.files.keeping import SizeLimits

_MEGABYTE = 1024 * 1024


class Switch(Struct, frozen=True):
    """Whether a feature is on."""

    enabled: bool


class SpeechSwitch(Struct, frozen=True):
    """Whether answers are spoken, and how."""

    enabled: bool = False
    voice: str = ""
    language: str = ""
    autoPlay: Literal["enabled", "disabled"] = "disabled"


class ModerationSwitch(Struct, frozen=True):
    """Whether moderation is on; never its keywords."""

    enabled: bool = False
    type: str = ""
    configs: list[Any] = []


class ImageUpload(Struct, frozen=True):
    """How pictures may be sent."""

    enabled: bool = False
    number_limits: int = 3
    detail: str = "high"
    transfer_methods: tuple[str, ...] = ("remote_url", "local_file")


class FileUpload(Struct, frozen=True):
    """How files may be sent."""

    image: ImageUpload
    enabled: bool
    allowed_file_types: tuple[str, ...]
    allowed_file_extensions: tuple[str, ...]
    allowed_file_upload_methods: tuple[str, ...]
    number_limits: int


class SystemParameters(Struct, frozen=True):
    """Sizes in megabytes, and a count."""

    image_file_size_limit: int
    video_file_size_limit: int
    audio_file_size_limit: int
    file_size_limit: int
    workflow_file_upload_limit: int = 10


class Parameters(Struct, frozen=True):
    """What a client needs to draw the app."""

    opening_statement: str
    suggested_questions: list[str]
    suggested_questions_after_answer: Switch
    speech_to_text: Switch
    text_to_speech: SpeechSwitch
    retriever_resource: Switch
    annotation_reply: Switch
    more_like_this: Switch
    user_input_form: list[dict[str, Any]]
    sensitive_word_avoidance: ModerationSwitch
    file_upload: FileUpload
    system_parameters: SystemParameters
    introduction: str


class Meta(Struct, frozen=True):
    """Icons of the app's tools by tool name."""

    tool_icons: dict[str, Any]


class Info(Struct, frozen=True):
    """The app in a few words."""

    name: str
    description: str
    tags: list[str]
    mode: str
    author_name: str


class SiteBody(Struct, frozen=True):
    """How the app presents itself on a page."""

    title: str
    chat_color_theme: str
    chat_color_theme_inverted: bool
    icon_type: str
    icon: str
    icon_background: str
    icon_url: str | None
    description: str
    copyright: str
    privacy_policy: str
    custom_disclaimer: str
    default_language: str
    show_workflow_steps: bool
    use_icon_as_answer_icon: bool


def parameters(config: AppConfig, limits: SizeLimits) -> Parameters:
    return Parameters(
        opening_statement=config.opening_statement or "",
        suggested_questions=list(config.suggested_questions),
        suggested_questions_after_answer=Switch(config.suggestions_enabled),
        speech_to_text=Switch(config.speech_to_text),
        text_to_speech=_speech(config.speech),
        retriever_resource=Switch(config.citations_enabled),
        annotation_reply=Switch(False),
        more_like_this=Switch(config.more_like_this_enabled),
        user_input_form=list(config.raw_form),
        sensitive_word_avoidance=_moderation(config.moderation),
        file_upload=_file_upload(config.files),
        system_parameters=SystemParameters(
            image_file_size_limit=limits.image // _MEGABYTE,
            video_file_size_limit=limits.video // _MEGABYTE,
            audio_file_size_limit=limits.audio // _MEGABYTE,
            file_size_limit=limits.document // _MEGABYTE,
        ),
        introduction=config.opening_statement or "",
    )


def _speech(speech: SpeechConfig | None) -> SpeechSwitch:
    if speech is None:
        return SpeechSwitch()
    plays: Literal["enabled", "disabled"] = "enabled" if speech.auto_play else "disabled"
    return SpeechSwitch(True, speech.voice, speech.language, plays)


def _moderation(moderation: ModerationConfig | None) -> ModerationSwitch:
    return ModerationSwitch(True, moderation.kind) if moderation else ModerationSwitch()


def _file_upload(rules: FileRules) -> FileUpload:
    pictures = rules.enabled and "image" in rules.types
    return FileUpload(
        image=ImageUpload(pictures, rules.most, rules.detail, rules.methods),
        enabled=rules.enabled,
        allowed_file_types=rules.types,
        allowed_file_extensions=rules.extensions,
        allowed_file_upload_methods=rules.methods,
        number_limits=rules.most,
    )


def info(app: App) -> Info:
    return Info(app.name, app.site.description, [], app.mode, "")


def site_body(app: App) -> SiteBody:
    site = app.site
    return SiteBody(
        title=site.title or app.name,
        chat_color_theme=site.chat_color_theme,
        chat_color_theme_inverted=site.chat_color_theme_inverted,
        icon_type=site.icon_type,
        icon=site.icon,
        icon_background=site.icon_background,
        icon_url=None,
        description=site.description,
        copyright=site.copyright,
        privacy_policy=site.privacy_policy,
        custom_disclaimer=site.custom_disclaimer,
        default_language=site.default_language,
        show_workflow_steps=False,
        use_icon_as_answer_icon=site.use_icon_as_answer_icon,
    )
