"""What forbidden words cost an answer without one: `python -m bench.keywords [TEXT-FILE]`.

The words and, without a file, the tokens are random letters, so nearly every token begins a word:
the worst that can be. A file is cut into its words.
"""

import random
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time

from kaiwa.domain.keywords import KeywordFilter, Keywords

_WORDS = 10_000
_TOKENS = 20_000
_ROUNDS = 7


def _words(letters: Sequence[str], sizes: tuple[int, int], dice: random.Random) -> list[str]:
    return ["".join(dice.choices(letters, k=dice.randint(*sizes))) for _ in range(_WORDS)]


def _measure(name: str, words: list[str], tokens: list[str]) -> None:
    made = min(_time(lambda: Keywords(words)) for _ in range(_ROUNDS))
    keywords = Keywords(words)

    def say() -> None:
        passing = KeywordFilter(keywords)
        for token in tokens:
            passing.feed(token)
            if passing.hit:
                passing = KeywordFilter(keywords)

    spent = min(_time(say) for _ in range(_ROUNDS)) / len(tokens)
    print(f"{name}: {_WORDS:,} words ready in {made * 1e3:.0f} ms, {spent * 1e6:.2f} µs per token")


def _time(work: Callable[[], object]) -> float:
    begun = process_time()
    work()
    return process_time() - begun


def main() -> None:
    dice = random.Random(1)
    latin = "abcdefghijklmnopqrstuvwxyz"
    han = [chr(code) for code in range(0x4E00, 0x5200)]
    if len(sys.argv) > 1:
        text = Path(sys.argv[1]).read_text("utf-8")
        tokens = re.findall(r"\s*\w+|\W", text)
        return _measure("Text", _words(latin, (4, 12), dice), tokens)
    tokens = [" " + "".join(dice.choices(latin, k=dice.randint(2, 6))) for _ in range(_TOKENS)]
    _measure("Latin", _words(latin, (4, 12), dice), tokens)
    tokens = ["".join(dice.choices(han, k=dice.randint(1, 2))) for _ in range(_TOKENS)]
    return _measure("Chinese", _words(han, (2, 5), dice), tokens)


if __name__ == "__main__":
    sys.exit(main())
