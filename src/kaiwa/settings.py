"""The settings: one frozen tree; defaults < kaiwa.toml < KAIWA_* environment.

A setting's variable is its name in capitals behind `KAIWA_`; `KAIWA_PROVIDERS_<NAME>_<OPTION>` sets
an option of the model server of that name, `KAIWA_TOOLS_<NAME>_<OPTION>` one of that service.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

from kaiwa.errors import OperatorError

_PREFIX = "KAIWA_"
_NAMED = {"providers": "a model server", "tools": "a service", "extensions": "an extension"}
"""Settings that are tables by name, whose options have variables of their own."""
_CHOICES = {
    "log_level": ("debug", "info", "warning", "error"),
    "send_pictures": ("bytes", "links"),
}
_FORMS = {
    "default_model": (r"(?s)[^/]+/.", "written as provider/model"),
    "image_model": (r"(?s)[^/]+/.", "written as provider/model"),
    "transcription_model": (r"(?s)[^/]+/.", "written as provider/model"),
    "rerank_model": (r"(?s)[^/]+/.", "written as provider/model"),
    "embedding_model": (
        r"(?s)hashed$|[^/]+/.",
        "written as provider/model, onnx/folder, or hashed",
    ),
    "public_url": ("https?://.", "an address that begins with http:// or https://"),
    "search_url": ("https?://.", "an address that begins with http:// or https://"),
}
_BOUNDS = {
    "port": (0, 65535),
    "waiting_questions": (0, 1e6),
    "body_limit": (1, 1e9),
    "failed_keys": (1, 1e9),
    "file_link_seconds": (1, 604_800),
    "image_limit": (1, 1e12),
    "document_limit": (1, 1e12),
    "audio_limit": (1, 1e12),
    "speech_limit": (1, 1e9),
    "speeches_at_once": (1, 1e6),
    "transcription_limit": (1, 1e9),
    "video_limit": (1, 1e12),
    "knowledge_memory": (1, 1e13),
    "ingest_at_once": (0, 100),
}
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "array": "a list",
    "object": "a table",
    "bool": "true or false",
}


class PriceSetting(Struct, frozen=True, forbid_unknown_fields=True):
    """What a model costs, per million tokens; decimal strings are exact."""

    prompt: str
    completion: str
    currency: str = "USD"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; times in seconds, sizes in bytes, unless their name says otherwise."""

    data: str = "./data"
    """The folder that holds everything Kaiwa keeps."""
    database_url: str = ""
    """`postgresql://…`; without it, an SQLite file in the data folder."""
    database_writers: int = 2
    """PostgreSQL connections that write."""
    database_readers: int = 2
    """PostgreSQL connections that read."""
    database_timeout: float = 20
    """What the database may take for one thing; whoever waits for it is then refused."""
    storage_url: str = ""
    """Where files lie: `s3://…`, `gs://…`, `az://…`, `file://…`; without it, in the data folder."""
    host: str = "127.0.0.1"
    """The address to serve on."""
    port: int = 8000
    """The port to serve on."""
    default_model: str = ""
    """`provider/model` for titles, suggestions, and apps that ask for `kaiwa/default`."""
    origins: tuple[str, ...] = ("*",)
    """Browser origins that may use the API; an app may narrow them."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    connect_timeout: float = 10
    """To connect to a model server."""
    first_token_timeout: float = 180
    """From the question to the model's first word."""
    token_timeout: float = 60
    """Between two words of the model."""
    turn_timeout: float = 1200
    """A whole turn; then it ends as if stopped."""
    tool_timeout: float = 60
    """One call of a tool; the model is then told that it took too long."""
    turns_at_once: int = 2000
    """How many questions the server works on, those that wait among them; 0 is no limit."""
    waiting_questions: int = 8
    """How many questions may wait for their turn in one conversation."""
    waiting_timeout: float = 60
    """How long a question waits for the answer before it."""
    checkpoint_interval: float = 0.4
    """Between two savings of growing answers."""
    abandoned_after: float = 30
    """A running answer that no process has looked after for so long is closed as interrupted."""
    ping_interval: float = 10
    """Between two pings on a stream."""
    write_timeout: float = 10
    """A client that takes nothing for so long counts as one that has left."""
    drain_timeout: float = 10
    """At a shutdown, how long live answers may go on."""
    purge_after_days: float = 7
    """When a deleted conversation is removed from the disk."""
    unused_files_after_days: float = 1
    """When an uploaded file that no message uses is removed."""
    body_limit: int = 15_000_000
    """The largest request."""
    public_url: str = ""
    """The server's address as browsers see it, for links to files; else a request's own."""
    secret_key: str = ""
    """Signs links to files; without it, one is made in the data folder."""
    presigned_links: bool = False
    """Links to files lead straight to the store in the cloud."""
    file_link_seconds: int = 300
    """How long a link to a file is good."""
    send_pictures: str = "bytes"
    """`bytes`: a model gets pictures themselves; `links`: it gets links to them."""
    image_limit: int = 10_485_760
    """The largest picture."""
    document_limit: int = 15_728_640
    """The largest document, and the largest file of any other kind."""
    audio_limit: int = 52_428_800
    """The largest audio file."""
    video_limit: int = 104_857_600
    """The largest video."""
    fetch_networks: tuple[str, ...] = ()
    """Networks besides the public ones from which users may name files, as in `10.1.0.0/16`."""
    image_model: str = ""
    """`provider/model` that draws for agents; of a server that speaks OpenAI's image API."""
    speech_model: str = ""
    """`espeak`, or the `provider/model` that speaks; without it, whichever of them is there."""
    speech_limit: int = 20_000
    """The longest text that is read aloud, in characters."""
    speeches_at_once: int = 32
    """How many texts are read aloud at a time, besides answers that are spoken as written."""
    speech_patience: float = 5
    """How long a voice may be silent while an answer is still to be spoken; then it is over."""
    transcription_model: str = ""
    """`provider/model` that listens, or `sherpa_onnx/` and the folder of a model."""
    transcription_limit: int = 15_728_640
    """The largest recording that is listened to."""
    moderation_timeout: float = 10
    """What a service that moderates may take for one check."""
    embedding_model: str = ""
    """`provider/model`, `onnx/` and a folder, or `hashed`: what new knowledge bases compare by."""
    rerank_model: str = ""
    """`provider/model` that ranks passages where a search asks for `default`."""
    ingest_at_once: int = 2
    """Documents that this process reads and indexes at once; 0 leaves them to others."""
    knowledge_memory: int = 1_000_000_000
    """For the knowledge bases that are searched; the one used last stays in any case."""
    log_flagged: bool = False
    """Whether the log has the texts that moderation has flagged."""
    search_url: str = ""
    """The search engine for agents: a SearXNG server; with a `search_api_key`, Brave's API."""
    search_api_key: str = ""
    """A key for Brave's search API."""
    failed_keys: int = 30
    """Wrong API keys from one address, after which it has to wait."""
    failed_keys_window: float = 60
    """How long wrong API keys are counted, and how long an address has to wait at most."""
    providers: dict[str, dict[str, object]] = {}
    """Model servers by name: `kind`, and the options of that kind."""
    tools: dict[str, dict[str, object]] = {}
    """Services that offer tools, by name: `kind`, and the options of that kind."""
    extensions: dict[str, dict[str, object]] = {}
    """Services that moderate and fill variables, by name: `endpoint`, `api_key`."""
    prices: dict[str, PriceSetting] = {}
    """Prices by `provider/model`; they override the list Kaiwa comes with."""
    context_sizes: dict[str, int] = {}
    """Context sizes in tokens by `provider/model`."""


class Value(Struct, frozen=True):
    """What one source says about a setting."""

    value: object
    source: str
    """As an operator calls it: a file, a variable, the command line."""


def load_settings(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> Settings:
    """The settings in force; `given` (the command line's) come last.

    `./kaiwa.toml` is read when it is there and no `file` is named. Raises `OperatorError`, which
    names the setting and where it stands.
    """
    values = _gather(file, environment, given)
    try:
        bare = {name: found.value for name, found in values.items()}
        settings = msgspec.convert(bare, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise _explain(str(error), values) from error
    for name in values:
        _check(name, getattr(settings, name), values[name].source)
    return settings


def find_sources(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> dict[str, str]:
    """Where each setting stands that is not left at its default. Raises `OperatorError`."""
    return {name: found.source for name, found in _gather(file, environment, given).items()}


def _gather(
    file: Path | None,
    environment: Mapping[str, str] | None,
    given: Mapping[str, object] | None,
) -> dict[str, Value]:
    values = _from_file(file)
    _add_environment(values, os.environ if environment is None else environment)
    for name, value in (given or {}).items():
        if value is not None:
            values[name] = Value(value, "the command line")
    return values


def _from_file(file: Path | None) -> dict[str, Value]:
    path = file or Path("kaiwa.toml")
    if file is None and not path.exists():
        return {}
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise OperatorError(
            f"The settings file {path} cannot be read: {error.strerror}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OperatorError(f"The settings file {path} is not valid TOML: {error}.") from error
    for name in found:
        if name not in Settings.__struct_fields__:
            raise _unknown(name, f"the settings file {path}", Settings.__struct_fields__)
    return {name: Value(value, str(path)) for name, value in found.items()}


def _add_environment(values: dict[str, Value], environment: Mapping[str, str]) -> None:
    names = {f"{_PREFIX}{name.upper()}": name for name in Settings.__struct_fields__}
    for variable, text in sorted(environment.items()):
        if variable == f"{_PREFIX}CONFIG" or not variable.startswith(_PREFIX):
            continue
        table = next((one for one in _NAMED if variable.startswith(_variable(one))), None)
        if table:
            _add_option(values, table, variable, text)
        elif variable not in names:
            raise _unknown(variable, "the environment", names)
        elif text or variable == f"{_PREFIX}ORIGINS":
            # Empty is how container files say "not set"; but an empty list is a list.
            values[names[variable]] = Value(_parsed(names[variable], variable, text), variable)


def _unknown(name: str, place: str, known: Iterable[str]) -> OperatorError:
    bare = {one.removeprefix(_PREFIX): one for one in known}
    close = get_close_matches(name.removeprefix(_PREFIX), bare, n=1)
    guess = f"; did you mean {bare[close[0]]}?" if close else "; see docs/guide/settings.md."
    return OperatorError(f"{name} in {place} is not a setting of Kaiwa{guess}")


def _parsed(name: str, variable: str, text: str) -> object:
    if name in ("origins", "fetch_networks"):
        return [origin.strip() for origin in text.split(",") if origin.strip()]
    if name in ("prices", "context_sizes", *_NAMED):
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise OperatorError(f"{variable} must be a JSON object: {error}.") from error
    return text


def _variable(table: str) -> str:
    return f"{_PREFIX}{table.upper()}_"


def _add_option(values: dict[str, Value], table: str, variable: str, text: str) -> None:
    found = values.get(table, Value({}, variable))
    if not isinstance(found.value, dict):
        return  # refused later, with the name of its source
    entries = dict(cast("dict[str, object]", found.value))
    name, option = _split(variable.removeprefix(_variable(table)).lower(), entries)
    if not name or not option:
        raise OperatorError(
            f"{variable} must name {_NAMED[table]} and an option of it, as in "
            f"{_variable(table)}OWN_BASE_URL."
        )
    entry = entries.get(name, {})
    if isinstance(entry, dict):
        entries[name] = {**cast("dict[str, object]", entry), option: text}
    values[table] = Value(entries, found.source)


def _split(text: str, known: Iterable[str]) -> tuple[str, str]:
    """The name and the option; of the known names the longest that fits, else one word."""
    for name in sorted(known, key=len, reverse=True):
        if text.startswith(f"{name.lower()}_"):
            return name, text[len(name) + 1 :]
    name, _, option = text.partition("_")
    return name, option


def _check(name: str, value: object, source: str) -> None:
    """What the type alone does not say. Raises `OperatorError`."""
    if name == "context_sizes":
        for model, size in cast("dict[str, int]", value).items():
            if size < 1:
                raise _wrong(f"context_sizes.{model}", source, "at least 1", size)
    least, most = _BOUNDS.get(name, (0, 1e9))
    wanted = ""
    if name in _CHOICES and value not in _CHOICES[name]:
        wanted = f"one of {', '.join(_CHOICES[name])}"
    elif name in ("data", "host") and not str(value).strip():
        wanted = "the name of a folder" if name == "data" else "an address"
    elif name in _FORMS and value and not re.match(_FORMS[name][0], str(value)):
        wanted = _FORMS[name][1]
    elif isinstance(value, float) and not 0 < value < most:
        wanted = f"a number of more than 0 and less than {most:,.0f}"
    elif isinstance(value, int) and not least <= value <= most:
        wanted = f"from {least:,.0f} to {most:,.0f}"
    if wanted:
        raise _wrong(name, source, wanted, value)


def _explain(text: str, values: Mapping[str, Value]) -> OperatorError:
    """A sentence from msgspec's words about a value that does not fit."""
    fault, _, path = text.removesuffix("`").partition(" - at `$.")
    name = re.split(r"[.\[]", path)[0]
    found = values[name]
    expected = re.match(r"Expected `([^`]+)`", fault)
    if expected and path == name:
        wanted = " or ".join(_TYPES.get(part, part) for part in expected[1].split(" | "))
        return _wrong(name, found.source, wanted, found.value)
    fault = fault[:1].lower() + fault[1:].replace("`", "")
    return OperatorError(f"The setting {path} in {found.source} is wrong: {fault}.")


def _wrong(name: str, source: str, wanted: str, value: object) -> OperatorError:
    place = "" if source.startswith(_PREFIX) and source.endswith(name.upper()) else f" in {source}"
    named = source if not place else f"The setting {name}{place}"
    return OperatorError(f"{named} must be {wanted}, not {value!r}.")
