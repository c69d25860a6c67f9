"""What an app's knowledge bases say to a question: told before it, or found by an agent's tools.

What was told is cited; it is taken as data, whatever it says.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from kaiwa.chat.ask import Asking, tell_passages
from kaiwa.chat.complete import complete
from kaiwa.chat.order import Context, Ready
from kaiwa.domain.knowledge import (
    Citation,
    KnowledgeBase,
    KnowledgeConfig,
    Passage,
    RetrievalSettings,
)
from kaiwa.domain.message import JsonValue
from kaiwa.domain.prompt import ToolSpec
from kaiwa.domain.text import shorten
from kaiwa.errors import KaiwaError, ToolFailed
from kaiwa.knowledge.search import SearchMeans, search
from kaiwa.ports import Clock, ModelChoice, NewId, Tool, ToolOutput
from kaiwa.store.knowledge import find_named_bases

logger = logging.getLogger(__name__)

_CHOOSE: Final = """\
A question is to be looked up in one of these collections of documents:

{bases}

The question:
{query}

Answer with the number of the one collection that is most likely to hold the answer, and with \
nothing else. Answer 0 when none of them can."""
_LONGEST_DESCRIPTION: Final = 300
_LONGEST_QUERY: Final = 2000


class Retrieval:
    """One turn's search in its app's bases."""

    def __init__(
        self,
        config: KnowledgeConfig,
        bases: Sequence[KnowledgeBase],
        means: SearchMeans,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._config = config
        self._bases = bases
        self._means = means
        self._clock = clock
        self._new_id = new_id
        self._found: list[list[Passage]] = []
        """By each call of a tool, in the order they were made."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        """One for each base, for an agent."""
        return tuple([_BaseTool(base, self) for base in self._bases])

    async def tell(self, asking: Asking, query: str, model: ModelChoice) -> None:
        """Find what answers the query, and have the model told it, as far as it has room for it.

        Raises what `search` raises.
        """
        bases, settings = self._bases, self._config.retrieval
        if self._config.mode == "single" and len(bases) > 1:
            bases = await _choose(bases, query, model)
        if self._config.mode == "single" and len(bases) == 1:
            settings = bases[0].retrieval
        elif self._config.weighs:
            bases = [_weighed(base, settings) for base in bases]
        asking.know(await search(query, bases, settings, self._means), model)

    async def look_up(self, base: KnowledgeBase, query: str) -> list[Passage]:
        """For an agent. Raises what `search` raises."""
        found: list[Passage] = []
        self._found.append(found)
        found += await search(query, [base], base.retrieval, self._means)
        return found

    def cite(
        self, told: Sequence[Passage], earlier: Sequence[Citation] = ()
    ) -> tuple[Citation, ...]:
        """What was told or found, each once, behind what the same answer has cited before."""
        cited = {one.segment_id for one in earlier}
        new: dict[UUID, Passage] = {}
        for one in (*told, *chain.from_iterable(self._found)):
            if one.segment.id not in cited:
                new.setdefault(one.segment.id, one)
        numbered = enumerate(new.values(), len(earlier) + 1)
        return (*earlier, *[self._cite(position, one) for position, one in numbered])

    def _cite(self, position: int, passage: Passage) -> Citation:
        segment = passage.segment
        return Citation(
            id=self._new_id(),
            position=position,
            base_id=segment.base_id,
            base_name=passage.base_name,
            document_id=segment.document_id,
            document_name=passage.document_name,
            source=passage.source,
            segment_id=segment.id,
            segment_position=segment.position,
            score=passage.score,
            content=segment.told,
            hit_count=segment.hit_count,
            words=segment.words,
            digest=segment.digest.hex(),
            created_at=self._clock(),
        )


def _weighed(base: KnowledgeBase, settings: RetrievalSettings) -> KnowledgeBase:
    """The same, its halves weighed as these settings say."""
    weights = {
        "fusion": "weighted",
        "vector_weight": settings.vector_weight,
        "keyword_weight": settings.keyword_weight,
    }
    return replace(base, retrieval=replace(base.retrieval, **weights))


async def find_retrieval(ready: Ready, context: Context) -> tuple[Ready, Retrieval | None]:
    """The same order, an agent's with the bases among its tools, and what searches them.

    None for an app that answers from no documents. Bases that are not there are passed over.
    """
    config = ready.config.knowledge
    if config is None or context.knowledge is None:
        return ready, None
    bases = await find_named_bases(context.db, ready.order.app.workspace_id, config.bases)
    retrieval = Retrieval(config, bases, context.knowledge, context.clock, context.new_id)
    if ready.config.agent:
        kit = replace(ready.kit, tools=(*ready.kit.tools, *retrieval.tools))
        ready = replace(ready, kit=kit)
    return ready, retrieval


async def _choose(
    bases: Sequence[KnowledgeBase], query: str, model: ModelChoice
) -> Sequence[KnowledgeBase]:
    """The one that the model names, none when it says so, and all when it cannot tell."""
    if not model.server.generative:
        return bases
    lines = [
        f"{number}. {base.name}: {shorten(base.description, _LONGEST_DESCRIPTION)}".rstrip(": ")
        for number, base in enumerate(bases, 1)
    ]
    prompt = _CHOOSE.format(bases="\n".join(lines), query=shorten(query, _LONGEST_QUERY))
    try:
        said = await complete(model, prompt, {"temperature": 0, "max_tokens": 500})
    except KaiwaError as error:
        logger.warning("%s has chosen no knowledge base: %s", model.name, error.message)
        return bases
    number = re.search(r"\d+", said)
    if number is None or int(number[0]) > len(bases):
        return bases
    return bases[int(number[0]) - 1 : int(number[0])] if int(number[0]) else ()


def tool_name(base: KnowledgeBase) -> str:
    """Under which an agent calls it."""
    return f"dataset_{base.id}".replace("-", "_")


class _BaseTool:
    """A base as a tool of an agent."""

    icon: str | Mapping[str, str] = {"background": "#FFEAD5", "content": "📚"}

    def __init__(self, base: KnowledgeBase, retrieval: Retrieval) -> None:
        self._base = base
        self._retrieval = retrieval

    @property
    def spec(self) -> ToolSpec:
        about = f"Looks a question up in the documents of {self._base.name}."
        return ToolSpec(
            tool_name(self._base),
            f"{about} {self._base.description}".strip(),
            {
                "type": "object",
                "properties": {
                    "query": {
                        "type": "string",
                        "minLength": 1,
                        "description": "What is looked for, in words that stand in the documents.",
                    }
                },
                "required": ["query"],
            },
        )

    @property
    def labels(self) -> Mapping[str, str]:
        return {"en_US": self._base.name, "zh_Hans": self._base.name}

    async def run(self, arguments: Mapping[str, JsonValue]) -> ToolOutput:
        try:
            passages = await self._retrieval.look_up(self._base, str(arguments["query"]))
        except KaiwaError as error:
            raise ToolFailed(error.message) from error
        if not passages:
            return ToolOutput("Nothing was found.")
        return ToolOutput(tell_passages(passages))
