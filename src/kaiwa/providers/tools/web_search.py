"""A search of the web, at the search engine that the operator set up: SearXNG's or Brave's API."""

import html
import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct
from yarl import URL

from kaiwa.domain.text import shorten
from kaiwa.errors import ToolFailed
from kaiwa.providers.http import Operator, OutboundError
from kaiwa.providers.probe import look
from kaiwa.providers.tools.means import Means

_BRAVE: Final = "https://api.search.brave.com/res/v1/web/search"
_MOST_BYTES: Final = 5_000_000
_TITLE: Final = 200
_SNIPPET: Final = 500
_FRESHNESS: Final = {"day": "pd", "week": "pw", "month": "pm", "year": "py"}
_NO_QUERY: Final = ("HTTP 400", "HTTP 422")
_NO_JSON: Final = "HTTP 403"
"""SearXNG's, where its JSON format is off."""
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
    url, headers = _write(means.search_url, means.search_api_key, query, count, time_range)
    try:
        body = await means.http.get(url, _MOST_BYTES, headers)
        answer = msgspec.json.decode(body, type=_Answer)
    except OutboundError as error:
        raise ToolFailed(f"The search has failed: {error}.") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ToolFailed("The search has failed: the search engine sent no results.") from error
    found = (answer.web or answer).results[:count]
    return "\n\n".join(map(_tell, found)) or "Nothing was found."


async def check_search(http: Operator, address: str, key: str) -> str | None:
    """None when the search engine of the settings answers, else why not.

    Asked for nothing it searches nothing, and says so.
    """
    url, headers = _write(address, key, "", 1, "")
    problem = await look(http, url, headers, _NO_QUERY)
    if problem and problem.endswith(_NO_JSON) and not key:
        problem += "; its JSON format may be off"
    return problem


def _write(
    address: str, key: str, query: str, count: int, time_range: TimeRange
) -> tuple[str, dict[str, str]]:
    """What is asked of the search engine: an address, and its headers."""
    headers = {"Accept": "application/json"}
    if key:
        fresh = {"freshness": _FRESHNESS[time_range]} if time_range else {}
        url = URL(address or _BRAVE) % {"q": query, "count": str(count), **fresh}
        return str(url), headers | {"X-Subscription-Token": key}
    asked = {"q": query, "format": "json"} | ({"time_range": time_range} if time_range else {})
    return str(URL(address) / "search" % asked), headers


def _tell(found: _Result) -> str:
    snippet = _plain(found.content or found.description or "", _SNIPPET)
    title = _plain(found.title or "", _TITLE)
    return "\n".join(filter(None, (title, shorten(found.url, _SNIPPET), snippet)))


def _plain(text: str, limit: int) -> str:
    return shorten(html.unescape(_TAG.sub("", text)), limit)
