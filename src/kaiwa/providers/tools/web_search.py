"""A search of the web, at the search engine that the operator set up: SearXNG's or Brave's API."""

import html
import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct
from yarl import URL

from kaiwa.domain.text import shorten
from kaiwa.errors import ToolFailed
from kaiwa.providers.http import OutboundError
from kaiwa.providers.tools.means import Means

_BRAVE: Final = "https://api.search.brave.com/res/v1/web/search"
_MOST_BYTES: Final = 5_000_000
_TITLE: Final = 200
_SNIPPET: Final = 500
_FRESHNESS: Final = {"day": "pd", "week": "pw", "month": "pm", "year": "py"}
_TAG: Final = re.compile(r"<[^<>]{0,200}>")

TimeRange = Literal["", "day", "week", "month", "year"]


class _Result(Struct):
    url: str
    title: str | None = None
    content: str | None = None
    """SearXNG's."""
    description: str | None = None
    """Brave's."""


class _Results(Struct):
    results: list[_Result] = []


class _Answer(_Results):
    """SearXNG has the results on top, Brave below `web`."""

    web: _Results | None = None


async def web_search(
    means: Means,
    query: Annotated[str, Meta(description="What to search for.", min_length=1, max_length=400)],
    count: Annotated[int, Meta(ge=1, le=20, description="How many results.")] = 5,
    time_range: Annotated[
        TimeRange, Meta(description="How old results may be; empty for any age.")
    ] = "",
) -> str:
    """Search the web. Gives titles, addresses and snippets of the pages found."""
    keyed = bool(means.search_api_key)
    url = _ask_brave(means, query, count, time_range) if keyed else _ask(means, query, time_range)
    headers = {"Accept": "application/json"}
    if keyed:
        headers["X-Subscription-Token"] = means.search_api_key
    try:
        body = await means.http.get(str(url), _MOST_BYTES, headers)
        answer = msgspec.json.decode(body, type=_Answer)
    except OutboundError as error:
        raise ToolFailed(f"The search has failed: {error}.") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ToolFailed("The search has failed: the search engine sent no results.") from error
    found = (answer.web or answer).results[:count]
    return "\n\n".join(map(_tell, found)) or "Nothing was found."


def _ask(means: Means, query: str, time_range: str) -> URL:
    asked = {"q": query, "format": "json"} | ({"time_range": time_range} if time_range else {})
    return URL(means.search_url) / "search" % asked


def _ask_brave(means: Means, query: str, count: int, time_range: str) -> URL:
    fresh = {"freshness": _FRESHNESS[time_range]} if time_range else {}
    return URL(means.search_url or _BRAVE) % {"q": query, "count": str(count), **fresh}


def _tell(found: _Result) -> str:
    snippet = _plain(found.content or found.description or "", _SNIPPET)
    title = _plain(found.title or "", _TITLE)
    return "\n".join(filter(None, (title, shorten(found.url, _SNIPPET), snippet)))


def _plain(text: str, limit: int) -> str:
    return shorten(html.unescape(_TAG.sub("", text)), limit)
