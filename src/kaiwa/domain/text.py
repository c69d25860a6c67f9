"""Small rules about text: its size, its language, its words, and the few texts of our own."""

import json
import re
import unicodedata
from typing import Final, Literal

from kaiwa.domain.message import JsonValue
from kaiwa.errors import InvalidJson

Language = Literal["en", "zh", "ja"]
OwnText = Literal["new_conversation", "quoting_hello", "quoting_nothing", "refused", "taken_back"]

_OWN_TEXTS: Final[dict[OwnText, dict[Language, str]]] = {
    "new_conversation": {"en": "New conversation", "zh": "新的对话", "ja": "新しい会話"},
    "refused": {
        "en": "This question cannot be answered here.",
        "zh": "这里不能回答这个问题。",
        "ja": "このご質問にはここではお答えできません。",
    },
    "taken_back": {
        "en": "The answer to this cannot be shown here.",
        "zh": "这里不能显示这个问题的回答。",
        "ja": "このご質問への回答はここでは表示できません。",
    },
    "quoting_hello": {
        "en": "Hello! Ask me about anything my instructions speak of; I am the built-in"
        " `quoting` model and answer with the passages that fit.",
        "zh": "你好！可以问我说明中提到的任何内容；我是内置的 `quoting` 模型，"
        "会引用相关的段落来回答。",
        "ja": "こんにちは！説明に書かれていることなら何でも聞いてください。私は内蔵の `quoting`"
        " モデルで、質問に合う箇所を引用して答えます。",
    },
    "quoting_nothing": {
        "en": "I have found nothing about that in my instructions. I am the built-in `quoting`"
        " model: I only quote from what this app was given; set OPENAI_API_KEY for a real model.",
        "zh": "在我的说明中没有找到相关内容。我是内置的 `quoting` 模型，"
        "只能引用这个应用已有的文字；"
        "如需真正的模型，请设置 OPENAI_API_KEY。",
        "ja": "説明の中に、それについての記述は見つかりませんでした。"
        "私は内蔵の `quoting` モデルで、このアプリに与えられた文章を引用することしかできません。"
        "本物のモデルを使うには OPENAI_API_KEY を設定してください。",
    },
}

_KANA = "\u3041-\u3096\u30a1-\u30fa\uff66-\uff9d"
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_WIDE = "\u3000-\u30ff\u31f0-\u31ff\uac00-\ud7af\uff00-\uffef" + _HAN
_RUN = _KANA + _HAN + "\u3099\u309a\u309d\u309e\u30fc-\u30fe"

_KANA_LETTER = re.compile(f"[{_KANA}]")
_HAN_LETTER = re.compile(f"[{_HAN}]")
_WIDE_RUN = re.compile(f"[{_WIDE}]+")
_OTHER_WORD = rf"[^\W_{_RUN}]+"
_WORD = re.compile(f"([{_RUN}]+)|({_OTHER_WORD}(?:['’]{_OTHER_WORD})*)")
_THINKING = re.compile(r"\A\s*<think>.*?(?:</think>\s*|\Z)", re.DOTALL)
_JOINERS = frozenset("\u200d\ufe0e\ufe0f")
_JSON_TRIES = 50


def count_tokens(text: str) -> int:
    """An estimate: three quarters of a token for a CJK character, a quarter for any other."""
    if text.isascii():
        return (len(text) + 3) // 4
    narrow = len(_WIDE_RUN.sub("", text))
    return (3 * (len(text) - narrow) + narrow + 3) // 4


def language_of(text: str) -> Language:
    """Japanese when it has kana, else Chinese when it has Han characters, else English."""
    if _KANA_LETTER.search(text):
        return "ja"
    return "zh" if _HAN_LETTER.search(text) else "en"


def words(text: str) -> list[str]:
    """Lower-cased words in order, English plurals reduced.

    A run of Chinese or Japanese gives its bigrams; one of a single character is that character.
    """
    found: list[str] = []
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text).lower()):
        run, word = match[1], match[2]
        if not run:
            found.append(_stem(word))
        elif len(run) == 1:
            found.append(run)
        else:
            found += [run[i : i + 2] for i in range(len(run) - 1)]
    return found


def shorten(text: str, limit: int) -> str:
    """One line with single spaces; what is longer than `limit` is cut there and gets a `…`.

    A character stays whole with its accents, and an emoji with its parts.
    """
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    cut = limit
    while cut > 0 and (_continues(line[cut]) or line[cut - 1] == "\u200d"):
        cut -= 1
    return line[: cut or limit].rstrip() + "…"


def clean(text: str) -> str:
    """The text without what a database or JSON cannot hold: NULs, and halves of characters."""
    text = text.replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def as_text(value: JsonValue) -> str:
    """Strings as they are, without NULs; other values as Python writes them.

    Raises `InvalidJson` for what is nested too deeply to be written.
    """
    try:
        return (value if isinstance(value, str) else str(value)).replace("\0", "")
    except RecursionError as error:
        raise InvalidJson from error


def say(key: OwnText, language: Language) -> str:
    """A text of our own."""
    return _OWN_TEXTS[key][language]


def strip_thinking(text: str) -> str:
    """The text without the reasoning that stands before it in `<think>` tags.

    The opening tag may be missing: some models have it in their prompt.
    """
    if text.lstrip().startswith("<think>"):
        return _THINKING.sub("", text)
    _, tag, rest = text.partition("</think>")
    return rest.lstrip() if tag else text


def first_json(text: str, opener: Literal["{", "["]) -> JsonValue:
    """The first JSON object (or array) within a model's words; None when there is none."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    at = text.find(opener)
    for _ in range(_JSON_TRIES):
        if at < 0:
            break
        try:
            value: JsonValue = decoder.raw_decode(text, at)[0]
        except (ValueError, RecursionError):
            at = text.find(opener, at + 1)
        else:
            return value
    return None


def _stem(word: str) -> str:
    word = word.replace("’", "'").removesuffix("'s")
    if len(word) <= 3 or not word.isascii() or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    return word if word.endswith(("ss", "us", "is")) else word[:-1]


def _continues(char: str) -> bool:
    """Whether the character belongs to the one before it."""
    return (
        unicodedata.combining(char) != 0
        or char in _JOINERS
        or "\U0001f3fb" <= char <= "\U0001f3ff"
        or "\udc00" <= char <= "\udfff"
    )


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(name)
