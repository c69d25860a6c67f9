"""The settings: one frozen tree; defaults < kaiwa.toml < KAIWA_* environment.

A setting's variable is its name in capitals behind `KAIWA_`; `KAIWA_PROVIDERS_<NAME>_<OPTION>` sets
an option of the model server of that name.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

from kaiwa.errors import OperatorError

_PREFIX = "KAIWA_"
_PROVIDERS = "KAIWA_PROVIDERS_"


class PriceSetting(Struct, frozen=True, forbid_unknown_fields=True):
    """What a model costs, per million tokens; decimal strings are exact."""

    prompt: str
    completion: str
    currency: str = "USD"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; times in seconds, sizes in bytes, unless their name says otherwise."""

    data: str = "./data"
    """The folder that holds everything Kaiwa keeps."""
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
    waiting_questions: int = 8
    """How many questions may wait for their turn in one conversation."""
    waiting_timeout: float = 60
    """How long a question waits for the answer before it."""
    checkpoint_interval: float = 0.5
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
    body_limit: int = 15_000_000
    """The largest request."""
    providers: dict[str, dict[str, object]] = {}
    """Model servers by name: `kind`, and the options of that kind."""
    prices: dict[str, PriceSetting] = {}
    """Prices by `provider/model`; they override the list Kaiwa comes with."""
    context_sizes: dict[str, int] = {}
    """Context sizes in tokens by `provider/model`."""


def load_settings(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> Settings:
    """The settings in force; `given` (the command line's) come last.

    `./kaiwa.toml` is read when it is there and no `file` is named. Raises `OperatorError`.
    """
    environment = os.environ if environment is None else environment
    values = _from_file(file)
    _add_environment(values, environment)
    values.update({name: value for name, value in (given or {}).items() if value is not None})
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise OperatorError(f"A setting is wrong: {_explain(error)}.") from error
    _check(settings)
    return settings


def _from_file(file: Path | None) -> dict[str, object]:
    path = file or Path("kaiwa.toml")
    if file is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise OperatorError(
            f"The settings file {path} cannot be read: {error.strerror}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OperatorError(f"The settings file {path} is not valid TOML: {error}.") from error


def _add_environment(values: dict[str, object], environment: Mapping[str, str]) -> None:
    names = {f"{_PREFIX}{name.upper()}": name for name in Settings.__struct_fields__}
    for variable, text in environment.items():
        if variable == f"{_PREFIX}CONFIG" or not variable.startswith(_PREFIX):
            continue
        if variable.startswith(_PROVIDERS):
            _add_provider(values, variable, text)
        elif variable in names:
            values[names[variable]] = _parsed(names[variable], variable, text)
        else:
            raise OperatorError(
                f"{variable} is not a setting of Kaiwa; see docs/guide/settings.md."
            )


def _parsed(name: str, variable: str, text: str) -> object:
    if name == "origins":
        return [origin.strip() for origin in text.split(",") if origin.strip()]
    if name in ("prices", "context_sizes"):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise OperatorError(f"{variable} must be a JSON object: {error}.") from error
    return text


def _add_provider(values: dict[str, object], variable: str, text: str) -> None:
    name, _, option = variable.removeprefix(_PROVIDERS).lower().partition("_")
    if not name or not option:
        raise OperatorError(f"{variable} must name a provider and an option of it.")
    providers = values.setdefault("providers", {})
    if isinstance(providers, dict):
        found = cast("dict[str, dict[str, object]]", providers)
        found.setdefault(name, {})[option] = text


def _check(settings: Settings) -> None:
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise OperatorError(f"The setting log_level cannot be {settings.log_level!r}.")
    if not 0 <= settings.port <= 65535:
        raise OperatorError(f"The setting port cannot be {settings.port}.")
    for name in Settings.__struct_fields__:
        value: object = getattr(settings, name)
        if isinstance(value, float) and not 0 < value < 1e9:
            raise OperatorError(f"The setting {name} must be a positive number, not {value}.")
    if settings.default_model and "/" not in settings.default_model:
        raise OperatorError("The setting default_model must look like provider/model.")


def _explain(error: msgspec.ValidationError) -> str:
    text = str(error)
    sentence, _, path = text.partition(" - at `$")
    name = path.rstrip("`").lstrip(".")
    return f"{name}: {sentence}" if name else sentence
