"""Template + inputs + history + question → the request a model gets."""

from typing import Literal

from msgspec import Struct

Role = Literal["system", "user", "assistant"]


class PromptMessage(Struct, frozen=True):
    """One message of a prompt."""

    role: Role
    text: str


class ModelRequest(Struct, frozen=True):
    """What a model is asked, in no provider's words."""

    model: str
    messages: tuple[PromptMessage, ...]
    params: dict[str, object]
    """`completion_params` of the app: temperature, top_p, max_tokens …"""
    stop: tuple[str, ...] = ()
    user: str = ""
    """The end user's internal id, so that a provider can tell users apart."""
    completion: bool = False
    """For models of the completion kind: one message that holds the whole text."""
