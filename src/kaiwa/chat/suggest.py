"""What the person may want to ask next."""

import logging
from collections.abc import Sequence

from kaiwa.chat.complete import complete
from kaiwa.domain.message import Exchange
from kaiwa.domain.text import count_tokens, first_json
from kaiwa.errors import KaiwaError
from kaiwa.ports import ModelChoice

logger = logging.getLogger(__name__)

_PROMPT = """\
Below is the end of a conversation. Write the three questions that the person is most likely to
ask next, each shorter than 20 characters, in the language of the last answer.
Answer with one JSON array of three strings and nothing else, like ["…", "…", "…"].

{conversation}
"""
_BUDGET_TOKENS = 3000


async def suggest_questions(
    latest: Sequence[Exchange], model: ModelChoice, prepared: Sequence[str]
) -> list[str]:
    """Likely next questions after the `latest` exchanges, oldest first.

    Falls back to those of the app's `prepared` questions that were not asked yet. A model is told
    of no question that was refused.
    """
    asked = {exchange.query.strip() for exchange in latest}
    spare = [question for question in prepared if question.strip() not in asked][:3]
    latest = [exchange for exchange in latest if not exchange.refused]
    if not latest or not model.server.generative:
        return spare
    params: dict[str, object] = {"temperature": 0, "max_tokens": 256}
    try:
        said = await complete(model, _PROMPT.format(conversation=_as_text(latest)), params)
    except KaiwaError as error:
        logger.warning("no suggestions from %s: %s", model.name, error.message)
        return spare
    found = first_json(said, "[")
    questions = [q.strip() for q in found if isinstance(q, str)] if isinstance(found, list) else []
    return [question for question in questions if question] or spare


def _as_text(latest: Sequence[Exchange]) -> str:
    lines: list[str] = []
    budget = _BUDGET_TOKENS
    for exchange in reversed(latest):
        block = f"Human: {exchange.query}\nAssistant: {exchange.answer}"
        budget -= count_tokens(block)
        if budget < 0 and lines:
            break
        lines.insert(0, block)
    return "\n".join(lines)[-_BUDGET_TOKENS * 4 :]
