"""Which voice this installation speaks with, and opening it."""

from typing import Final

from anyio import to_thread

from kaiwa.errors import OperatorError
from kaiwa.ports import Speaker
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.http import Operator
from kaiwa.providers.openai_server import find_server
from kaiwa.providers.openai_speech import OpenAISpeaker
from kaiwa.providers.registry import create_voice
from kaiwa.providers.speech.espeak import find_espeak

_SETTING: Final = "speech_model"
_OPENAI: Final = "openai/gpt-4o-mini-tts"
_ESPEAK: Final = "espeak"


async def choose_voice(setting: str, catalog: Catalog) -> str:
    """The voice's name: what is set, else OpenAI's with a key, else espeak, else ""."""
    if setting:
        return setting
    if (catalog.find_options("openai", "openai") or {}).get("api_key"):
        return _OPENAI
    return _ESPEAK if await to_thread.run_sync(find_espeak) else ""


async def open_voice(name: str, catalog: Catalog, http: Operator) -> Speaker:
    """The voice of this name: a kind of voices, or the `provider/model` of a model server.

    Raises `OperatorError`.
    """
    kind, _, model = name.partition("/")
    if speaker := await to_thread.run_sync(create_voice, kind, model):
        return speaker
    if not model:
        raise OperatorError(
            f"The setting {_SETTING} must be espeak, silent or a provider/model, not {name!r}."
        )
    return OpenAISpeaker(find_server(catalog, http, _SETTING, name), model)
