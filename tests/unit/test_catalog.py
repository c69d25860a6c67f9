"""Which model server an app's model means, and which model is the default."""

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal

import pytest

from kaiwa.domain.usage import Price
from kaiwa.errors import OperatorError, ProviderNotInitialized
from kaiwa.providers.catalog import Catalog, price_per_million
from kaiwa.providers.http import Operator
from kaiwa.providers.listing import ollama_address
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.anyio

NOBODY = "127.0.0.1:9"
KEY = {"OPENAI_API_KEY": "sk-test", "OLLAMA_HOST": NOBODY}
NOTHING = {"OLLAMA_HOST": NOBODY}
VLLM = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}


@pytest.fixture
async def http() -> AsyncIterator[Operator]:
    operator = Operator(1)
    yield operator
    await operator.close()


@pytest.fixture
async def ollama() -> AsyncIterator[ModelServer]:
    async with ModelServer(models=["nomic-embed-text", "llama3.2", "qwen"]) as server:
        yield server


def catalog(
    http: Operator,
    environment: Mapping[str, str] = NOTHING,
    default: str = "",
    **entries: Mapping[str, object],
) -> Catalog:
    return Catalog(http, entries, environment, default)


@pytest.mark.parametrize(
    "spelling",
    [
        "openai",
        " OpenAI ",
        "langgenius/openai/openai",
        "openai_api_compatible",
        "langgenius/openai_api_compatible/openai_api_compatible",
    ],
)
async def test_apps_files_spell_openai_in_many_ways(http: Operator, spelling: str) -> None:
    choice = await catalog(http, KEY).choose(spelling, "gpt-4o-mini")
    assert (choice.provider, choice.name) == ("openai", "gpt-4o-mini")


async def test_an_alias_means_its_server(http: Operator) -> None:
    listed = catalog(http, vllm={**VLLM, "aliases": ["openai_api_compatible", "Tongyi"]})
    assert listed.find_entry("langgenius/tongyi/tongyi") == "vllm"
    assert listed.find_entry("openai_api_compatible") == "vllm"
    spoken = catalog(http, vllm={**VLLM, "aliases": "tongyi, zhipuai"})
    assert spoken.find_entry("zhipuai") == "vllm"


async def test_an_alias_of_the_operator_is_stronger_than_ours(http: Operator) -> None:
    found = catalog(http, KEY, vllm={**VLLM, "aliases": "openai_api_compatible"})
    assert found.find_entry("openai_api_compatible") == "vllm"
    assert found.find_entry("openai") == "openai"


async def test_a_provider_that_is_not_set_up_is_refused(http: Operator) -> None:
    for provider in ("openai", "anthropic", "langgenius/azure_openai/azure_openai", ""):
        with pytest.raises(ProviderNotInitialized, match="Model m credentials"):
            await catalog(http).choose(provider, "m")


async def test_a_choice_is_made_once(http: Operator) -> None:
    found = catalog(http)
    assert await found.choose("quoting", "a") is await found.choose("Quoting", "a")
    other = await found.choose("quoting", "b")
    assert other.server is (await found.choose("quoting", "a")).server


async def test_the_settings_price_and_context_size_go_by_provider_and_model(http: Operator) -> None:
    price = price_per_million("2.50", "10", "EUR")
    found = Catalog(http, {}, KEY, "", {"openai/gpt-4o": price}, {"openai/gpt-4o": 77})
    choice = await found.choose("langgenius/openai/openai", "gpt-4o")
    assert (choice.price, choice.context_size) == (price, 77)


async def test_without_anything_the_default_model_quotes(http: Operator) -> None:
    found = catalog(http)
    assert await found.default_name() == "quoting/quoting"
    choice = await found.choose("kaiwa", "default")
    assert (choice.provider, choice.name) == ("quoting", "quoting")


async def test_a_local_ollama_gives_the_default_model(http: Operator, ollama: ModelServer) -> None:
    found = catalog(http, {"OLLAMA_HOST": ollama.url})
    assert await found.default_name() == "ollama/llama3.2"
    choice = await found.choose_default()
    assert (choice.provider, choice.name) == ("ollama", "llama3.2")


@pytest.mark.parametrize("models", [[], ["nomic-embed-text", "bge-m3", "all-minilm"]])
async def test_an_ollama_without_a_model_that_talks_gives_none(
    http: Operator, ollama: ModelServer, models: list[str]
) -> None:
    ollama.models = models
    found = catalog(http, {"OLLAMA_HOST": ollama.url})
    assert await found.default_name() == "quoting/quoting"


async def test_a_key_for_openai_goes_before_ollama(http: Operator, ollama: ModelServer) -> None:
    environment = {"OLLAMA_HOST": ollama.url, "OPENAI_API_KEY": "sk-test"}
    assert await catalog(http, environment).default_name() == "openai/gpt-4o-mini"
    environment["OPENAI_MODEL"] = "gpt-9"
    assert await catalog(http, environment).default_name() == "openai/gpt-9"


async def test_another_server_at_openais_address_says_what_it_has(
    http: Operator, ollama: ModelServer
) -> None:
    environment = {**NOTHING, "OPENAI_BASE_URL": ollama.openai_url}
    assert await catalog(http, environment).default_name() == "openai/llama3.2"
    ollama.models = ["other", "gpt-4o-mini"]
    assert await catalog(http, environment).default_name() == "openai/gpt-4o-mini"
    environment["OPENAI_BASE_URL"] = f"http://{NOBODY}/v1"
    assert await catalog(http, environment).default_name() == "openai/gpt-4o-mini"


async def test_the_setting_goes_before_all(http: Operator, ollama: ModelServer) -> None:
    environment = {"OLLAMA_HOST": ollama.url, "OPENAI_API_KEY": "sk-test"}
    found = catalog(http, environment, "vllm/a/b", vllm=VLLM)
    assert await found.default_name() == "vllm/a/b"
    choice = await found.choose("kaiwa", "default")
    assert (choice.provider, choice.name) == ("vllm", "a/b")


@pytest.mark.parametrize("default", ["vllm/llama", "openai/gpt-4o", "kaiwa/default"])
async def test_a_default_model_without_a_server_is_a_mistake(http: Operator, default: str) -> None:
    with pytest.raises(OperatorError, match=f"default_model names '{default.split('/')[0]}'"):
        catalog(http, default=default)


@pytest.mark.parametrize(
    ("name", "entry", "words"),
    [
        ("vllm", {"base_url": "http://x"}, "providers.vllm needs a kind"),
        ("vllm", {"kind": 3}, "providers.vllm needs a kind"),
        ("vllm", {**VLLM, "aliases": 3}, "providers.vllm.aliases must be a list"),
        ("kaiwa", VLLM, "cannot be called kaiwa"),
        ("a/b", VLLM, "cannot be called a/b"),
    ],
)
async def test_an_entry_that_is_no_server_is_a_mistake(
    http: Operator, name: str, entry: Mapping[str, object], words: str
) -> None:
    with pytest.raises(OperatorError, match=words):
        Catalog(http, {name: entry}, NOTHING)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"kind": "opnai"}, "In the setting providers.vllm: There is no model kind 'opnai'"),
        ({**VLLM, "base": "x"}, "In the setting providers.vllm: .*unknown field `base`"),
        ({**VLLM, "base_url": "x"}, "In the setting providers.vllm: The base_url"),
    ],
)
async def test_a_mistake_in_a_servers_options_shows_before_it_is_asked(
    http: Operator, entry: Mapping[str, object], words: str
) -> None:
    with pytest.raises(OperatorError, match=words):
        await catalog(http, vllm=entry).open_servers()


async def test_a_server_in_the_settings_completes_one_of_the_environment(http: Operator) -> None:
    found = catalog(http, KEY, OpenAI={"organization": "org"})
    await found.open_servers()
    assert (await found.choose("openai", "m")).provider == "openai"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:9999", "http://127.0.0.1:9999"),
        (":9999", "http://127.0.0.1:9999"),
        ("box", "http://box:11434"),
        ("box:0x", "http://box:11434"),
        ("box/path/", "http://box:11434/path"),
        ("http://box", "http://box:80"),
        ("https://box", "https://box:443"),
        ("https://box:8443/path", "https://box:8443/path"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::]:9999", "http://[::1]:9999"),
        (' "box" ', "http://box:11434"),
    ],
)
async def test_ollamas_own_variable_is_read_as_ollama_reads_it(text: str, address: str) -> None:
    assert ollama_address({"OLLAMA_HOST": text}) == address


async def test_a_price_is_a_decimal_number() -> None:
    price = price_per_million("0.1", "3", "USD")
    assert price == Price(Decimal("0.1"), Decimal(3), Decimal("0.000001"), "USD")
    for wrong in ("x", "NaN", "Infinity", "-1", ""):
        with pytest.raises(ValueError, match="not a"):
            price_per_million(wrong, "1", "USD")
