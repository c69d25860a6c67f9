"""THE HOT PATH: the only loop that sees every token.

It knows neither the database nor the wire. What a network read held goes out in one `emit`.
"""

from kaiwa.chat.running import Live
from kaiwa.domain.answer import Answer
from kaiwa.ports import DeltaStream, Emit


async def relay(stream: DeltaStream, answer: Answer, live: Live, emit: Emit) -> None:
    """Pass the model's words on until it has finished.

    The answer holds every piece before anyone hears it, so what is kept is never less than what
    any client received.
    """
    async for deltas in stream:
        live.heard += 1
        events = answer.feed(deltas)
        if events:
            live.speaking = True
            await emit(events)
            live.speaking = False
