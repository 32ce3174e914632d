"""Write the Unicode table of the token rule into each function, from one source.

    python3.11 functions/unicode/generate.py

The source is the `unicodedata` module of CPython 3.11, which holds Unicode 14.0.0. Each function
gets the same two lists of integers, in a source file of its own language, so that loading them
reads no file:

TOKENS   pairs `gap length`: after `gap` separators come `length` code points of category L, M or N.
LOWER    quadruples `first count step delta`: the token code points first, first + step, …
         (`count` of them) have the lower case `code point + delta`; all others are their own.
"""

from __future__ import annotations

import sys
import textwrap
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

VERSION = "14.0.0"
FUNCTIONS = Path(__file__).resolve().parents[1]


def is_token(code_point: int) -> bool:
    return unicodedata.category(chr(code_point))[0] in "LMN"


def simple_lower(code_point: int) -> int:
    """The simple lower-case mapping.

    `str.lower` of one character applies the full mapping, which differs from the simple one only
    at U+0130: there it appends U+0307 (SpecialCasing.txt) to the simple mapping (UnicodeData.txt).
    """
    return ord(chr(code_point).lower()[0])


def token_runs() -> list[int]:
    """TOKENS, flat."""
    flat: list[int] = []
    gap = 0
    for token, run in groupby(range(sys.maxunicode + 1), key=is_token):
        length = sum(1 for _ in run)
        if token:
            flat += [gap, length]
        gap = length
    return flat


def lower_runs() -> list[int]:
    """LOWER, flat. Steps are 1 or 2, since many scripts alternate upper and lower case."""
    runs: list[list[int]] = []
    for code_point in filter(is_token, range(sys.maxunicode + 1)):
        delta = simple_lower(code_point) - code_point
        if delta == 0:
            continue
        # The functions rely on both: a token stays one token, and UTF-16 keeps its length.
        assert is_token(code_point + delta)
        assert (code_point > 0xFFFF) == (code_point + delta > 0xFFFF)
        if runs and runs[-1][3] == delta:
            first, count, step, _ = runs[-1]
            distance = code_point - (first + (count - 1) * step)
            if distance == step or (count == 1 and distance == 2):
                runs[-1][1:3] = [count + 1, distance]
                continue
        runs.append([code_point, 1, 1, delta])
    return [number for run in runs for number in run]


def sources() -> Iterator[tuple[Path, str]]:
    """Each generated file and its content."""
    if unicodedata.unidata_version != VERSION:
        raise SystemExit(
            f"needs a Python whose unicodedata is {VERSION} (CPython 3.11), "
            f"this one has {unicodedata.unidata_version}"
        )
    tokens, lower = (
        "\n".join(textwrap.wrap(" ".join(map(str, numbers)), 98))
        for numbers in (token_runs(), lower_runs())
    )
    made = "Unicode table of the token rule. Made by functions/unicode/generate.py: do not edit."
    yield (
        FUNCTIONS / "python/tokenizer/unicode_data.py",
        f'"""{made}"""\n\n'
        f'VERSION = "{VERSION}"\n\nTOKENS = """\n{tokens}\n"""\n\nLOWER = """\n{lower}\n"""\n',
    )
    yield (
        FUNCTIONS / "node/unicode-data.mjs",
        f"// {made}\n\n"
        f'export const VERSION = "{VERSION}";\n\n'
        f"export const TOKENS = `\n{tokens}\n`;\n\nexport const LOWER = `\n{lower}\n`;\n",
    )
    yield (
        FUNCTIONS / "java/src/main/java/tokenizer/UnicodeData.java",
        f"package tokenizer;\n\n/** {made} */\nfinal class UnicodeData {{\n"
        f'    static final String VERSION = "{VERSION}";\n\n'
        f'    static final String TOKENS = """\n{tokens}\n""";\n\n'
        f'    static final String LOWER = """\n{lower}\n""";\n\n'
        "    private UnicodeData() {}\n}\n",
    )


if __name__ == "__main__":
    for path, content in sources():
        path.write_text(content)
        print(f"{path.relative_to(FUNCTIONS)}: {len(content)} bytes")
