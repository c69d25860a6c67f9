"""Cuts a text into passages and finds those that fit a question, by the words they share."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from kaiwa.domain.text import language_of, words

_K1: Final = 1.2
_B: Final = 0.75
_NEARLY_BEST: Final = 0.6
_HEADING: Final = re.compile(r"#{1,6}\s+\S")
_LEAD: Final = re.compile(r"[^.!?。！？]{1,120}[:：]$")
_ITEM: Final = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)、])\s+\S")
_FENCE: Final = re.compile(r"\s*(?:```|~~~)")
_HIRAGANA: Final = re.compile(r"[\u3041-\u309f]+")

# Words that say nothing about what is asked, in the form `words` gives them.
_EMPTY: Final = frozenset(
    words(
        "a an the and or of to in on at for from by with about into is are was were be been am do"
        " does did have has had can could will would should may i you he she it we they me my your"
        " our their its this that these those what which who whom when where why how much many not"
        " no yes please tell there here some any if then than so as but let get"
        " 什么 怎么 怎样 如何 哪里 哪些 哪个 多少 几个 请问 我们 你们 他们 可以 不能 是不 的是"
        " 吗 呢 的 了 是 我 你 何で 何か"
    )
)


class Passage(Struct, frozen=True):
    """A paragraph, a list item or a block of code."""

    heading: str
    """The heading it stands under; may be empty."""
    lead: str
    """The line with a colon that announces it; may be empty."""
    body: str


def split_passages(text: str) -> list[Passage]:
    """All passages in order; what announces nothing is a passage of its own."""
    passages: list[Passage] = []
    heading = lead = ""
    announced = True
    for block in [*_split_blocks(text), ""]:
        title, colon = bool(_HEADING.match(block)), _is_lead(block)
        if not announced and (title or not block or (colon and lead)):
            passages.append(Passage(heading if lead else "", "", lead or heading))
        if title:
            heading, lead, announced = block, "", False
        elif colon:
            lead, announced = block, False
        elif block:
            passages.append(Passage(heading, lead, block))
            lead, announced = (lead if _ITEM.match(block) else ""), True
    return passages


def find_passages(text: str, question: str, most: int = 3) -> list[Passage]:
    """The best one and those nearly as good, in the order of the text; none when none fits.

    One that begins with the very question is enough. Those in the question's language come first;
    others are taken only when none of them fits.
    """
    asking = words(question)
    asked = set(asking) - _EMPTY
    telling = {word for word in asked if not _HIRAGANA.fullmatch(word)} or asked
    passages = split_passages(text)
    if asked and (said := [p.body for p in passages if words(p.body)[: len(asking)] == asking]):
        return [Passage("", "", said[0])]
    scores = _score([f"{p.heading} {p.lead} {p.body}" for p in passages], telling)
    fitting = [i for i, score in enumerate(scores) if score > 0]
    language = language_of(question)
    fitting = [i for i in fitting if language_of(passages[i].body) == language] or fitting
    if not fitting:
        return []
    ranked = sorted(fitting, key=lambda i: -scores[i])[:most]
    least = _NEARLY_BEST * scores[ranked[0]]
    return [passages[i] for i in sorted(ranked) if scores[i] >= least]


def join_passages(passages: Sequence[Passage]) -> str:
    """As they stood in their text; what several stand under is said once."""
    parts: list[str] = []
    before = Passage("", "", "")
    for passage in passages:
        together = bool(passage.lead) and passage.lead == before.lead
        if parts:
            parts.append("\n" if together else "\n\n")
        if passage.heading and passage.heading != before.heading:
            parts.append(f"{passage.heading}\n\n")
        if passage.lead and not together:
            parts.append(f"{passage.lead}\n")
        parts.append(passage.body)
        before = passage
    return "".join(parts)


def _score(texts: Sequence[str], telling: set[str]) -> list[float]:
    """BM25 of each text; 0 for one that shares too little with the question."""
    counts = [Counter(words(text)) for text in texts]
    mean = sum(count.total() for count in counts) / len(counts) if counts else 1.0
    weights: dict[str, float] = {}
    for word in telling:
        seen = sum(word in count for count in counts)
        weights[word] = math.log(1 + (len(counts) - seen + 0.5) / (seen + 0.5))
    # Bigrams run across the borders of words, so that fewer of them are to be found again.
    share = 0.3 if all(word.isascii() for word in telling) else 0.15
    scores: list[float] = []
    for count in counts:
        shared = [word for word in telling if word in count]
        norm = _K1 * (1 - _B + _B * count.total() / (mean or 1.0))
        fits = bool(shared) and len(shared) >= share * len(telling)
        scores.append(
            sum(weights[w] * count[w] * (_K1 + 1) / (count[w] + norm) for w in shared)
            if fits
            else 0.0
        )
    return scores


def _split_blocks(text: str) -> list[str]:
    """Runs of lines: a blank line, a heading, a lead or a list item ends one, not within code."""
    blocks: list[list[str]] = [[]]
    in_code = False
    for line in text.splitlines():
        fence = bool(_FENCE.match(line))
        alone = not in_code and not fence and bool(_HEADING.match(line) or _is_lead(line))
        if not in_code and (fence or alone or not line.strip() or _ITEM.match(line)):
            blocks.append([])
        if in_code or line.strip():
            blocks[-1].append(line.rstrip())
        if alone or (in_code and fence):
            blocks.append([])
        in_code ^= fence
    return ["\n".join(block) for block in blocks if block]


def _is_lead(block: str) -> bool:
    return bool(_LEAD.fullmatch(block.rstrip())) and not _ITEM.match(block)
