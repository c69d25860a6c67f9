"""The built-in model quotes what fits, and says plainly when nothing does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.prompt import ModelRequest, PromptMessage
from kaiwa.providers.http import Operator
from kaiwa.providers.passages import Passage, find_passages, split_passages
from kaiwa.providers.registry import create_model
from kaiwa.providers.speaking import split_tokens
from tests.providers.asking import hear

INSTRUCTIONS = """\
You are the assistant of a small coffee shop. Be polite.

# Opening hours
We open Monday to Friday from 8:00 to 18:00.

We are closed on Sundays.

# Returns
Goods can be returned within 30 days with the receipt:
- Coffee beans: only unopened bags.
- Machines: in their original box.

To check an order:

```bash
orders --check 4711

orders --list
```

# 中文
退货：收到商品后30天内可以退货，需要出示收据。

营业时间为周一至周五早上八点到下午六点。

# 日本語
返品は30日以内にレシートをお持ちください。

営業時間は平日8時から18時までです。
"""


async def ask(question: str, text: str = INSTRUCTIONS) -> str:
    messages = (PromptMessage("system", text), PromptMessage("user", question))
    model = create_model("quoting", {}, Operator())
    heard = await hear(model, ModelRequest("quoting", messages, {}))
    assert heard.usage is None
    return heard.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("When are you open?", "# Opening hours\n\nWe open Monday to Friday from 8:00 to 18:00."),
        ("Are you closed on a Sunday?", "# Opening hours\n\nWe are closed on Sundays."),
        (
            "Can I return a machine?",
            "# Returns\n\nGoods can be returned within 30 days with the receipt:\n"
            "- Machines: in their original box.",
        ),
        (
            "How do I return beans and machines",
            "# Returns\n\nGoods can be returned within 30 days with the receipt:\n"
            "- Coffee beans: only unopened bags.\n- Machines: in their original box.",
        ),
        (
            "How do I check my order?",
            "# Returns\n\nTo check an order:\n```bash\norders --check 4711\n\norders --list\n```",
        ),
        ("几点营业？", "# 中文\n\n营业时间为周一至周五早上八点到下午六点。"),
        ("退货需要多少天？", "# 中文\n\n退货：收到商品后30天内可以退货，需要出示收据。"),
        ("返品はできますか", "# 日本語\n\n返品は30日以内にレシートをお持ちください。"),
        ("営業時間を教えてください", "# 日本語\n\n営業時間は平日8時から18時までです。"),
    ],
)
async def test_it_quotes_what_fits(question: str, expected: str) -> None:
    assert await ask(question) == expected


@pytest.mark.anyio
@pytest.mark.parametrize("question", ["What is tea?", "what is TEA", "什么是茶？"])
async def test_a_passage_that_begins_with_the_question_is_enough(question: str) -> None:
    answer = f"{question} That was the question."
    text = f"# Tea\n\nTea, tea and 茶.\n\nTea is what we sell.\n\n{answer}\n\n茶是我们卖的。"
    assert await ask(question, text) == answer


@pytest.mark.anyio
async def test_what_was_found_in_documents_is_quoted_and_nothing_said_around_it() -> None:
    around = "The <context> has what fits the question about tea.\n\n{}\n\nTea: do not lie."
    known = around.format(
        "<context>\nTea is a drink.\nCoffee is one too.\n| a | b |\nMilk as well.\n</context>"
    )
    assert await ask("What about tea?", known) == "Tea is a drink."
    assert await ask("What about milk?", known) == "Milk as well."
    unknown = around.format("<context>\n\n</context>")
    assert (await ask("What about tea?", unknown)).startswith("I have found nothing")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("question", "beginning"),
    [
        ("What is the capital of France?", "I have found nothing about that"),
        ("法国的首都是哪里？", "在我的说明中没有找到"),
        ("フランスの首都はどこですか", "説明の中に、それについての記述は見つかりませんでした"),
        ("?!", "I have found nothing about that"),
    ],
)
async def test_it_says_when_nothing_fits_and_what_it_is(question: str, beginning: str) -> None:
    for text in (INSTRUCTIONS, ""):
        answer = await ask(question, text)
        assert answer.startswith(beginning)
        assert "`quoting`" in answer
        assert "OPENAI_API_KEY" in answer


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("greeting", "beginning"),
    [
        ("hi", "Hello!"),
        ("Hello there!", "Hello!"),
        ("Good morning", "Hello!"),
        ("你好", "你好！"),
        ("您好。", "你好！"),
        ("こんにちは！", "こんにちは！"),
    ],
)
async def test_a_greeting_is_returned(greeting: str, beginning: str) -> None:
    answer = await ask(greeting)
    assert answer.startswith(beginning)
    assert "`quoting`" in answer


def test_at_most_three_passages_in_the_order_of_the_text() -> None:
    text = "\n\n".join(f"Apples number {i}." for i in range(6))
    found = find_passages(text, "Tell me about apples")
    assert len(found) == 3
    bodies = [passage.body for passage in found]
    assert bodies == sorted(bodies)


def test_headings_without_a_text_are_passages_too() -> None:
    assert split_passages("# One\n# Two\ntext\n# Three") == [
        Passage("", "", "# One"),
        Passage("# Two", "", "text"),
        Passage("", "", "# Three"),
    ]


@given(st.text(alphabet=st.sampled_from("a b-#\n:`~*1.\u4e16\u306e 　"), max_size=200))
def test_no_word_of_a_text_is_lost(text: str) -> None:
    passages = split_passages(text)
    kept = "".join(f"{p.heading}{p.lead}{p.body}" for p in passages)
    assert set("".join(text.split())) <= set(kept)


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    tokens = split_tokens(text)
    assert "".join(tokens) == text
    assert all(tokens)


def test_passages_are_of_one_language() -> None:
    text = "To make a key, run `key create`.\n\n创建密钥：运行 `key create`。\n\nA key is a secret."
    english = [passage.body for passage in find_passages(text, "How do I create a key?")]
    assert english[0].startswith("To make a key")
    assert not any("密钥" in body for body in english)
    assert [p.body[:4] for p in find_passages(text, "怎样创建密钥？")] == ["创建密钥"]
