"""A conversation's name: the beginning of its first question, then what a model calls it."""

import logging

from kaiwa.chat.complete import complete
from kaiwa.domain.text import first_json, language_of, say, shorten
from kaiwa.errors import KaiwaError
from kaiwa.ports import ModelChoice

logger = logging.getLogger(__name__)

_PROMPT = """\
Name a conversation by its first question. Write in the language of the question.
Answer with one JSON object and nothing else, its keys in this order:
{{"language": "<the question's language>", "intention": "<what the person wants>", \
"title": "<a title of at most eight words: the subject and the intention>"}}

The question:
{query}
"""
_LONGEST_QUERY = 2000
_LONGEST_TITLE = 75
_PLAIN_TITLE = 50


def plain_title(query: str) -> str:
    """The beginning of the question, on one line; never empty."""
    return shorten(query, _PLAIN_TITLE) or say("new_conversation", language_of(query))


async def find_title(query: str, model: ModelChoice) -> str | None:
    """What the model calls the conversation; None when it fails or has no name for it.

    A model that cannot follow instructions is not asked: the name is the question's beginning.
    """
    if not model.server.generative:
        return plain_title(query)
    question = " ".join(query.split())
    if len(question) > _LONGEST_QUERY:
        question = f"{question[:300]} … {question[-300:]}"
    params: dict[str, object] = {"temperature": 1, "max_tokens": 500}
    try:
        said = await complete(model, _PROMPT.format(query=question), params)
    except KaiwaError as error:
        logger.warning("no title from %s: %s", model.name, error.message)
        return None
    return _title_in(said) or None


def _title_in(said: str) -> str:
    """The third value of the JSON object in the model's words; empty when there is none."""
    found = first_json(said, "{")
    if not isinstance(found, dict):
        return ""
    values = list(found.values())
    title = found.get("title", values[2] if len(values) > 2 else "")
    if not isinstance(title, str):
        return ""
    title = " ".join(title.split())
    return title if len(title) <= _LONGEST_TITLE else title[:_LONGEST_TITLE] + "..."
