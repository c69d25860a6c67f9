"""What Kaiwa is to be: one process, everything on."""

from bench.figures import Target

_PACED = "100 streams at 50 tokens a second, CPU per token"
PACED = Target(_PACED, "× the floor", 1.2, 0.8)

_AT_ONCE = "tokens as fast as they come, 10 at once"
AT_ONCE = {
    "SQLite": Target(f"{_AT_ONCE}, CPU per message", "ms", 2.6, 1.8),
    "PostgreSQL": Target(f"{_AT_ONCE}, CPU per message", "ms", 3.6),
}
RATE = Target(_AT_ONCE, "messages/s", 300, 500, least=True)

_64 = "64 streams"
CALLED = Target(f"{_64}, question sent → model called, p50", "ms", 8, 4)
FIRST_P50 = Target(f"{_64}, model's first byte → first event, p50", "ms", 3, 1)
FIRST_P99 = Target(f"{_64}, model's first byte → first event, p99", "ms", 15, 5)

LATE = {
    1000: Target("1,000 streams at 20 tokens a second, later than 200 ms", "tokens", 0),
    2000: Target("2,000 streams (a moonshot), later than 200 ms", "tokens", 0),
}
STREAM_MEMORY = Target("1,000 streams, memory per stream", "KB", 60)

LONG = Target("a turn among 1,000 messages", "× one among 20", 1.2, 1.0)

AGENT = Target("an agent's turn of 5 tool calls, CPU", "ms", 10)

SPOKEN = Target("50 streams spoken, sentence whole → first audio, p99", "ms", 300)

_PAGE = "out of 1,000,000 messages"
PAGE_OF_MESSAGES = Target(f"page of 20 messages {_PAGE}, CPU", "ms", 1.0, 0.5)
PAGE_OF_CONVERSATIONS = Target(f"page of 20 conversations {_PAGE}, CPU", "ms", 0.5, 0.25)
PAGE_P99 = Target(f"page of 20 {_PAGE}, 10 at once, p99", "ms", 10, 5)

IDLE_MEMORY = Target("idle memory", "MB", 120)
FIRST_START = Target("first start to ready", "s", 1.5)
LATER_START = Target("later starts to ready", "s", 1.5)
INSTALL = Target("install from cache", "s", 30)

UPLOAD_RATE = Target("100 uploads of 10 MB, 20 at once", "× the floor", 0.6, least=True)
UPLOAD_MEMORY = Target("100 uploads of 10 MB, 20 at once: memory above idle", "MB", 100)
PICTURE = Target("a picture of 1 MB in a turn, CPU", "ms", 10)

GROWTH = Target("mixed load, memory grows", "MB/min", 1)
ERRORS = Target("mixed load", "errors", 0)

INGEST_RATE = Target("a PDF of 1,000 pages into a base", "pages/s", 50, least=True)

_SEARCH = "a base of 100,000 segments, 8 searches at once"
SEARCH_P50 = Target(f"{_SEARCH}, p50", "ms", 15)
SEARCH_P99 = Target(f"{_SEARCH}, p99", "ms", 40)
SEARCH_P50_SHARED = Target(f"{_SEARCH}, p50", "ms", 10)
"""On PostgreSQL, as the next."""
SEARCH_P99_SHARED = Target(f"{_SEARCH}, p99", "ms", 30)
SEARCH_LATE = Target(f"{_SEARCH}: a token beside them comes late, p99", "ms", 20)
SEARCH_MEMORY = Target("memory of a base", "× its vectors", 1.3)

RETRIEVAL_WORDS = Target(
    "full text, questions that share words with their passage, recall@5", "", 0.9, least=True
)
RETRIEVAL_HYBRID = Target("hybrid above the better of its halves, nDCG@10", "", 0, least=True)
