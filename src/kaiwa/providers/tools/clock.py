"""Times and dates, in any zone of the IANA database."""

import asyncio
import calendar
from datetime import UTC, date, datetime
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta

from kaiwa.errors import ToolFailed
from kaiwa.providers.tools.means import Means

Zone = Annotated[str, Meta(description="An IANA time zone, such as Asia/Tokyo or UTC.")]
LocalTime = Annotated[str, Meta(description="A time such as 2025-01-31 18:30:00.")]
# Only plain codes: with a width, `strftime` would fill all of the memory.
Format = Annotated[
    str,
    Meta(
        description="A strftime format; empty for the date, time, weekday and offset.",
        max_length=100,
        pattern="^([^%]|%[A-Za-z%])*$",
    ),
]

_PLAIN: Final = "%Y-%m-%d %H:%M:%S"


async def current_time(means: Means, timezone: Zone = "UTC", format: Format = "") -> str:
    """Tell the current date, time and weekday in a time zone."""
    now = means.clock().astimezone(await _find_zone(timezone))
    return now.strftime(format) if format else _tell(now, timezone)


async def timezone_conversion(
    means: Means, current_time: LocalTime, current_timezone: Zone, target_timezone: Zone
) -> str:
    """Convert a local time from one time zone to another."""
    there = await _locate(current_time, current_timezone)
    return _tell(await _move(there, target_timezone), target_timezone)


async def weekday(
    means: Means,
    year: Annotated[int, Meta(ge=1, le=9999)],
    month: Annotated[int, Meta(ge=1, le=12)],
    day: Annotated[int, Meta(ge=1, le=31)],
) -> str:
    """Tell which day of the week a date is."""
    try:
        found = date(year, month, day)
    except ValueError as error:
        raise ToolFailed(f"There is no such date: {error}.") from error
    return f"{found.isoformat()} is a {calendar.day_name[found.weekday()]}."


async def localtime_to_timestamp(means: Means, localtime: LocalTime, timezone: Zone = "UTC") -> str:
    """Convert a local time in a time zone to a Unix timestamp in seconds."""
    return str(int((await _locate(localtime, timezone)).timestamp()))


async def timestamp_to_localtime(
    means: Means,
    timestamp: Annotated[float, Meta(description="Unix time in seconds.")],
    timezone: Zone = "UTC",
) -> str:
    """Convert a Unix timestamp to the local time in a time zone."""
    try:
        moment = datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ToolFailed(f"There is no such time: {error}.") from error
    return _tell(await _move(moment, timezone), timezone)


def _tell(moment: datetime, zone: str) -> str:
    day = calendar.day_name[moment.weekday()]
    return f"{moment.strftime(_PLAIN)} {day}, {zone} (UTC{moment.isoformat()[-6:]})"


async def _find_zone(name: str) -> ZoneInfo:
    """In a thread: the first time it reads a file."""
    try:
        return await asyncio.to_thread(ZoneInfo, name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        sentence = f"There is no time zone {name[:60]!r}; use an IANA name such as Europe/Berlin."
        raise ToolFailed(sentence) from error


async def _locate(text: str, zone: str) -> datetime:
    """The moment; a time that names its own offset keeps it."""
    found = _read(text)
    return found if found.tzinfo else found.replace(tzinfo=await _find_zone(zone))


async def _move(moment: datetime, zone: str) -> datetime:
    try:
        return moment.astimezone(await _find_zone(zone))
    except OverflowError as error:
        raise ToolFailed("There is no such time in that time zone.") from error


def _read(text: str) -> datetime:
    text = text.strip()
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        # As `2025-1-31 8:5:0`; the caller gives it a zone.
        return datetime.strptime(text, _PLAIN)  # noqa: DTZ007
    except ValueError as error:
        sentence = f"{text[:60]!r} is not a time; write it as 2025-01-31 18:30:00."
        raise ToolFailed(sentence) from error
