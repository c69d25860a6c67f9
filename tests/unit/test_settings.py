"""The settings: who wins, how variables are named, and what a mistake is called."""

from pathlib import Path

import pytest

from kaiwa.errors import OperatorError
from kaiwa.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "kaiwa.toml") -> Path:
    file = Path(name)
    file.write_text(text, "utf-8")
    return file


def fault(text: str = "", **variables: str) -> str:
    """The sentence about this file or these variables."""
    write(text)
    with pytest.raises(OperatorError) as caught:
        load_settings(environment=variables)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "`" not in sentence
    return sentence


def test_without_a_word_the_defaults_are_in_force() -> None:
    assert load_settings(environment={}) == Settings()


def test_the_command_line_wins_over_variables_over_the_file_over_defaults() -> None:
    write("port = 1\nhost = 'file'\nlog_level = 'error'")
    environment = {"KAIWA_PORT": "2", "KAIWA_HOST": "variable"}
    found = load_settings(environment=environment, given={"port": 3, "data": None})
    assert (found.port, found.host, found.log_level, found.data) == (
        3,
        "variable",
        "error",
        "./data",
    )


def test_a_named_file_is_read_instead_of_the_one_in_the_folder() -> None:
    write("port = 1")
    other = write("host = 'other'", "other.toml")
    found = load_settings(other, environment={})
    assert (found.port, found.host) == (8000, "other")


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_every_setting_is_also_a_variable(name: str) -> None:
    texts = {
        "str": "a/b",
        "int": "77",
        "float": "7.5",
        "bool": "true",
        "tuple": "a, b,",
        "dict": '{"a/b": {"prompt": "1", "completion": "2"}}',
    }
    kind = type(getattr(Settings(), name)).__name__
    special = {
        "log_level": "debug",
        "context_sizes": '{"a/b": 7}',
        "public_url": "https://a.example",
        "search_url": "https://a.example",
        "send_pictures": "links",
    }
    text = special.get(name, texts[kind])
    found = getattr(load_settings(environment={f"KAIWA_{name.upper()}": text}), name)
    assert found != getattr(Settings(), name)


def test_origins_are_listed_with_commas() -> None:
    found = load_settings(environment={"KAIWA_ORIGINS": "https://a.example, https://b.example"})
    assert found.origins == ("https://a.example", "https://b.example")
    assert load_settings(environment={"KAIWA_ORIGINS": ""}).origins == ()


def test_an_empty_variable_says_nothing() -> None:
    write("port = 1")
    environment = {"KAIWA_PORT": "", "KAIWA_DATA": "", "KAIWA_PRICES": ""}
    found = load_settings(environment=environment)
    assert (found.port, found.data, found.prices) == (1, "./data", {})


def test_other_programs_variables_are_none_of_ours() -> None:
    assert load_settings(environment={"PORT": "x", "KAIWA": "x", "KAIWA_CONFIG": "x"}) == Settings()


def test_a_model_server_is_set_up_by_variables() -> None:
    environment = {
        "KAIWA_PROVIDERS_VLLM_KIND": "openai",
        "KAIWA_PROVIDERS_VLLM_BASE_URL": "http://localhost:1/v1",
    }
    found = load_settings(environment=environment).providers
    assert found == {"vllm": {"kind": "openai", "base_url": "http://localhost:1/v1"}}


def test_a_service_is_set_up_by_variables() -> None:
    environment = {"KAIWA_TOOLS_SHOP_BEARER": "b", "KAIWA_TOOLS_SHOP_KIND": "openapi"}
    found = load_settings(environment=environment)
    assert found.tools == {"shop": {"kind": "openapi", "bearer": "b"}}


def test_a_variable_adds_to_the_server_in_the_file() -> None:
    write("[providers.my_vllm]\nkind = 'openai'\napi_key = 'file'\n[providers.my]\nkind = 'openai'")
    environment = {"KAIWA_PROVIDERS_MY_VLLM_API_KEY": "variable", "KAIWA_PROVIDERS_MY_NAME": "x"}
    assert load_settings(environment=environment).providers == {
        "my_vllm": {"kind": "openai", "api_key": "variable"},
        "my": {"kind": "openai", "name": "x"},
    }


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("KAIWA_PORT", "abc", "KAIWA_PORT must be a whole number, not 'abc'."),
        ("KAIWA_PORT", "-1", "KAIWA_PORT must be from 0 to 65,535, not -1."),
        ("KAIWA_PING_INTERVAL", "soon", "KAIWA_PING_INTERVAL must be a number, not 'soon'."),
        ("KAIWA_PING_INTERVAL", "0", "KAIWA_PING_INTERVAL must be a number of more than 0"),
        ("KAIWA_PING_INTERVAL", "inf", "KAIWA_PING_INTERVAL must be a number of more than 0"),
        ("KAIWA_WAITING_QUESTIONS", "-1", "KAIWA_WAITING_QUESTIONS must be from 0"),
        ("KAIWA_BODY_LIMIT", "0", "KAIWA_BODY_LIMIT must be from 1"),
        ("KAIWA_LOG_LEVEL", "INFO", "one of debug, info, warning, error, not 'INFO'."),
        ("KAIWA_DATA", " ", "KAIWA_DATA must be the name of a folder"),
        ("KAIWA_DEFAULT_MODEL", "gpt", "KAIWA_DEFAULT_MODEL must be written as provider/model"),
        ("KAIWA_DEFAULT_MODEL", "openai/", "written as provider/model"),
        ("KAIWA_PRICES", "[]", "KAIWA_PRICES must be a table, not []."),
        ("KAIWA_PRICES", "{", "KAIWA_PRICES must be a JSON object"),
        ("KAIWA_CONTEXT_SIZES", '{"a/b": 0}', "context_sizes.a/b"),
        ("KAIWA_PROVIDERS_VLLM", "x", "KAIWA_PROVIDERS_VLLM must name a model server"),
        ("KAIWA_TOOLS_SHOP", "x", "KAIWA_TOOLS_SHOP must name a service and an option of it"),
        ("KAIWA_PROT", "1", "did you mean KAIWA_PORT?"),
        ("KAIWA_XYZ", "1", "KAIWA_XYZ in the environment is not a setting of Kaiwa; see docs/"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, text: str, words: str) -> None:
    assert words in fault(**{variable: text})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = 'abc'", "The setting port in kaiwa.toml must be a whole number, not 'abc'."),
        ("port = true", "The setting port in kaiwa.toml must be a whole number, not True."),
        ("origins = 'x'", "The setting origins in kaiwa.toml must be a list, not 'x'."),
        ("origins = [1]", "The setting origins[0] in kaiwa.toml is wrong: expected str, got int."),
        ("providers = 1", "The setting providers in kaiwa.toml must be a table, not 1."),
        ("[providers]\nvllm = 1", "in kaiwa.toml is wrong: expected object, got int."),
        ("[prices.'a/b']\nprompt = '1'", "missing required field completion"),
        (
            "[context_sizes]\n'a/b' = 0",
            "context_sizes.a/b in kaiwa.toml must be at least 1, not 0.",
        ),
        ("prot = 1", "prot in the settings file kaiwa.toml is not a setting of Kaiwa"),
        ("= 1", "The settings file kaiwa.toml is not valid TOML"),
    ],
)
def test_a_wrong_line_of_the_file_is_named(text: str, words: str) -> None:
    assert words in fault(text)


def test_a_variable_for_a_server_in_a_broken_table_blames_the_table() -> None:
    assert "providers in kaiwa.toml" in fault("providers = 1", KAIWA_PROVIDERS_A_KIND="openai")
    assert "kaiwa.toml" in fault("[providers]\na = 1", KAIWA_PROVIDERS_A_KIND="openai")


def test_what_the_command_line_says_is_checked_too() -> None:
    with pytest.raises(OperatorError, match="port in the command line must be from 0 to 65,535"):
        load_settings(environment={}, given={"port": 65536})


def test_a_file_that_is_named_must_be_there() -> None:
    with pytest.raises(OperatorError, match=r"missing\.toml cannot be read: No such file"):
        load_settings(Path("missing.toml"), environment={})
    Path("latin.toml").write_bytes(b"data = '\xe9'")
    with pytest.raises(OperatorError, match=r"latin\.toml is not valid TOML"):
        load_settings(Path("latin.toml"), environment={})
