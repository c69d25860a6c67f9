"""ReAct, for models that cannot call tools: how one is told of them and of the rounds before.

What it then writes is read by `react_parser`.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from kaiwa.domain.prompt import PromptMessage, ToolSpec
from kaiwa.domain.thought import Thought

STOP: Final = ("Observation",)
"""What a model must stop at, or it would make the results of its tools up."""

_PLACEHOLDER = re.compile(
    r"\{\{(instruction|tools|tool_names|historic_messages|query|agent_scratchpad)\}\}"
)
_OBSERVATION = "{{observation}}"
_NO_TOOLS = "{{instruction}}\n\nNo tool can be used any more: answer with what you know now."
_PROMPT = """\
{{instruction}}

You can use tools. Each of these lines describes one, with a JSON schema of its input:

{{tools}}

To use a tool, write an action: a JSON object with the keys "action", which is the name of the \
tool, and "action_input", which is its input. One tool at a time. The name is one of: \
{{tool_names}}, Final Answer.

Write exactly in this form:

Thought: what you think, in a sentence or two
Action:
```json
{"action": "name of the tool", "action_input": {"name of a parameter": "its value"}}
```

Then stop. You are told what came of it:

Observation: the result

Think again, and use as many tools as you need, one after the other. When you know enough, or need \
no tool, answer with a last action:

Thought: I know the answer
Action:
```json
{"action": "Final Answer", "action_input": "the answer to the question, as text"}
```

Keep the words Thought, Action and Final Answer as they are, whatever language you answer in, and \
never write an Observation yourself."""


def react_prompt(
    tools: Sequence[ToolSpec],
    instruction: str,
    *,
    first_prompt: str = "",
    query: str = "",
    history: str = "",
    scratchpad: str = "",
) -> str:
    """What a model is told first: the app's `instruction` and how to use `tools`.

    `first_prompt` is the app's own template. The last three are for templates that hold the whole
    prompt (`{{query}}`, `{{historic_messages}}`, `{{agent_scratchpad}}`); ours does not.
    """
    values = {
        "instruction": instruction,
        "tools": "\n".join([msgspec.json.encode(tool).decode() for tool in tools]),
        "tool_names": ", ".join([tool.name for tool in tools]),
        "historic_messages": history,
        "query": query,
        "agent_scratchpad": scratchpad,
    }
    template = first_prompt or (_PROMPT if tools else _NO_TOOLS)
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template).strip()


def round_messages(thoughts: Sequence[Thought], next_iteration: str = "") -> list[PromptMessage]:
    """Earlier rounds of this answer: what the assistant wrote, and what it is told of each.

    `next_iteration` is the app's own template of the latter, with `{{observation}}`.
    """
    messages: list[PromptMessage] = []
    for thought in thoughts:
        said = f"Thought: {thought.text.strip()}\n"
        seen = [call.observation or "" for call in thought.calls]
        for call in thought.calls:
            name = json.dumps(call.tool, ensure_ascii=False)
            action = f'{{"action": {name}, "action_input": {call.arguments or "{}"}}}'
            said += f"Action:\n```json\n{action}\n```\n"
        messages.append(PromptMessage("assistant", said))
        if seen:
            template = next_iteration or f"Observation: {_OBSERVATION}\n"
            told = template.replace(_OBSERVATION, "\n".join(seen))
            messages.append(PromptMessage("user", told))
    return messages


def scratchpad(thoughts: Sequence[Thought], next_iteration: str = "") -> str:
    """The same as one text, for prompts that are one text."""
    return "".join([message.text for message in round_messages(thoughts, next_iteration)])
