"""From the setting `transcription_model` to who listens."""

from typing import Final

import anyio.to_thread

from kaiwa.errors import OperatorError
from kaiwa.ports import Transcriber
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.http import Operator
from kaiwa.providers.models.openai import OpenAIOptions
from kaiwa.providers.options import read_options
from kaiwa.providers.registry import load_transcription

_KINDS: Final = ("sherpa_onnx", "scripted")
"""Those that are no model server."""
_DEFAULT: Final = "openai/whisper-1"
"""Known to every server that speaks this API, and content with recordings of any length."""


def name_transcriber(setting: str, catalog: Catalog) -> str:
    """`kind/what` or `provider/model` of what listens; empty when nothing does."""
    if setting:
        return setting
    options = catalog.find_options("openai", "openai")
    if options is None or not read_options("openai", OpenAIOptions, options).keyed:
        return ""
    return _DEFAULT


async def open_transcriber(setting: str, catalog: Catalog, http: Operator) -> Transcriber | None:
    """Who listens, if anybody does. Raises `OperatorError`."""
    name = name_transcriber(setting, catalog)
    if not name:
        return None
    return await anyio.to_thread.run_sync(_open, name, catalog, http)


def _open(name: str, catalog: Catalog, http: Operator) -> Transcriber:
    provider, _, rest = name.partition("/")
    kind = provider if provider in _KINDS else "openai"
    try:
        create = load_transcription(kind)
    except ImportError as error:
        raise OperatorError(
            f"The setting transcription_model = {name} needs packages that are not installed"
            f" ({error}); install kaiwa[sherpa], or run make install-sherpa."
        ) from error
    return create(name if kind == "openai" else rest, catalog, http)
