"""What the functions cost: `words` beside the floor of its language, `subwords` by length of text.

    python -m functions.speed

Runs the built functions in their real runtimes (in-process, without the service around them) and
prints the tables of CONTRACT.md, each figure beside its aim where it has one; fails where one is
missed. The floor is JSON in, a plain split, JSON out. Floor and handler take turns on the same
event, in the form boto3's callers send it, and read and write JSON by the same means: those of
AWS's runtime interface client in Python and Node, the function's own in Java, where the client
leaves that to the handler.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from flink_job.load.workloads import workload

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / ".aws-sam/build"
RUNTIMES = ROOT / ".runtimes"

SIZES = (1, 10, 100, 1000)
SCRIPT_SIZE = 100
# The machine is slower for a while whenever it does other work: of several passes over everything,
# the fastest counts.
PASSES, SECONDS = 4, 0.2

# Events of a kind: enough that none of them is still in a cache when its turn comes.
EVENTS = 50

# What is aimed at: handler ÷ floor of ASCII; a script's compute ÷ that of ASCII.
MOST_OF_FLOOR = {"python": 1.5, "node": 1.5, "java": 2.0}
MOST_OF_ASCII = 5.0

# Words a sentence → sentences a batch, for the table by length: always 1,000 words.
LENGTHS = {10: 100, 100: 10, 1000: 1}
LANGUAGES = ("python", "java", "node")
OPERATORS = ("words", "subwords")
# New processes for each first call.
FIRST_CALLS = 20

# Letters that the words are drawn from: the same sentences, in another script.
SCRIPTS = {
    "ASCII": "abcdefghijklmnopqrstuvwxyzETAOIN",
    "Greek": "αβγδεζηθικλμνξοπρστυφχψωΑΕΗΙΟΣ",
    "Cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяАЕИОНС",
    "Devanagari": "अआइईउएकखगघचछजटडतदनपबमयरलवशसहािीुूेो्ं",
    "CJK": "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年",
    "mixed, emoji": "abcdefghijklmnopqrstuvwxyzéüABC的一是абв😀🚀❤👍",
}


@dataclass(frozen=True)
class Timing:
    """Microseconds a batch: the floor's, the whole handler's, and its `compute_ns`; of each the
    median of a pass, and of several passes the least."""

    floor_us: float
    handler_us: float
    compute_us: float

    @property
    def ratio(self) -> float:
        return self.handler_us / self.floor_us


def sentences(letters: str, count: int, seed: int) -> list[str]:
    """Seeded sentences of 5–15 words of 2–9 letters, with a full stop."""
    randomness = random.Random(seed)

    def word() -> str:
        return "".join(letters[randomness.randrange(len(letters))] for _ in range(length()))

    def length() -> int:
        return randomness.randint(2, 9)

    return [" ".join(word() for _ in range(randomness.randint(5, 15))) + "." for _ in range(count)]


def main() -> int:
    """Print the tables; 1 if an aim is missed, else 0."""
    scripts = [("ASCII", size) for size in SIZES]
    scripts += [(script, SCRIPT_SIZE) for script in SCRIPTS if script != "ASCII"]
    lengths = [(operator, words) for operator in OPERATORS for words in LENGTHS]
    kinds = [
        [{"sentences": sentences(SCRIPTS[script], size, k)} for k in range(EVENTS)]
        for script, size in scripts
    ]
    for operator, words in lengths:
        stream, size = workload("sentences", 1, words), LENGTHS[words]
        kinds.append(
            [
                {"operator": operator, "sentences": stream.sentences(k * size, size)}
                for k in range(EVENTS)
            ]
        )
    by_script: dict[tuple[str, str, int], Timing] = {}
    by_length: dict[tuple[str, str, int], Timing] = {}
    for language, timings in timed(kinds).items():
        by_script |= {(language, *x): t for x, t in zip(scripts, timings, strict=False)}
        rest = timings[len(scripts) :]
        by_length |= {(language, *x): t for x, t in zip(lengths, rest, strict=True)}
    table, missed = script_table(by_script)
    print(table)
    print(f"\nµs of compute a sentence\n\n{length_table(by_length)}")
    first = first_calls()
    rows = [[operator, *(first[x][operator] for x in LANGUAGES)] for operator in OPERATORS]
    print("\nms of compute in the first call of a process, a single word\n")
    print(tabulate(rows, ["operator", *map(str.title, LANGUAGES)], "github", floatfmt=".2f"))
    for what in missed:
        print(f"missed: {what}", file=sys.stderr)
    return 1 if missed else 0


def timed(kinds: Sequence[list[dict[str, Any]]]) -> dict[str, list[Timing]]:
    """What an event of each kind takes, by language; languages take turns."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{index}.jsonl") for index in range(len(kinds))]
        for file, events in zip(files, kinds, strict=True):
            file.write_text("\n".join(map(json.dumps, events)))
        commands = dict(drivers(Path(folder)))
        passes: dict[str, list[str]] = {language: [] for language in commands}
        for _ in range(PASSES):
            for language, command in commands.items():
                passes[language].append(printed([*command, str(SECONDS), *map(str, files)]))
    return {
        language: [
            Timing(*(min(map(int, ns)) / 1000 for ns in zip(*map(str.split, lines), strict=True)))
            for lines in zip(*map(str.splitlines, texts), strict=True)
        ]
        for language, texts in passes.items()
    }


def script_table(timings: dict[tuple[str, str, int], Timing]) -> tuple[str, list[str]]:
    """The operator `words` by language, script and size, and what misses its aim."""
    rows = []
    missed = []
    for (language, script, size), t in timings.items():
        of_ascii = t.compute_us / timings[language, "ASCII", size].compute_us
        if script == "ASCII":
            aims = [f"≤ {MOST_OF_FLOOR[language]}", ""]
            is_missed = t.ratio > MOST_OF_FLOOR[language]
        else:
            aims = ["", f"≤ {MOST_OF_ASCII}"]
            is_missed = of_ascii > MOST_OF_ASCII
        if is_missed:
            missed.append(f"{language}, {script}, {size} sentences")
        timed = [t.floor_us, t.handler_us, t.ratio, aims[0], t.compute_us, of_ascii, aims[1]]
        rows.append([language, script, size, *timed])
    headers = ["", "script", "sentences", "floor, µs", "handler, µs", "ratio", "aim"]
    headers += ["compute, µs", "÷ ASCII", "aim"]
    formats = ("", "", "", ",.1f", ",.1f", ".2f", "", ",.1f", ".2f", "")
    return tabulate(rows, headers, tablefmt="github", floatfmt=formats), missed


def first_calls() -> dict[str, dict[str, float]]:
    """Median ms of compute in the first call of a new process, a single word: by language and
    operator, in turns. What `subwords` takes longer is the reading of the merges."""
    taken: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        commands = dict(drivers(Path(folder)))
        for _ in range(FIRST_CALLS):
            for language, command in commands.items():
                for operator in OPERATORS:
                    file = Path(folder, "event.jsonl")
                    file.write_text(json.dumps({"operator": operator, "sentences": ["a"]}))
                    compute_ms = int(printed([*command, "0", str(file)]).split()[2]) / 1e6
                    by_operator = taken.setdefault(language, {})
                    by_operator.setdefault(operator, []).append(compute_ms)
    return {
        language: {operator: median(ms) for operator, ms in by_operator.items()}
        for language, by_operator in taken.items()
    }


def printed(command: Sequence[str]) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def length_table(timings: dict[tuple[str, str, int], Timing]) -> str:
    """Both operators by length of the sentences, languages side by side."""
    rows = []
    for operator in OPERATORS:
        for words, size in LENGTHS.items():
            python, java, node = (
                timings[language, operator, words].compute_us / size for language in LANGUAGES
            )
            rows.append([operator, words, python, java, node, python / java, node / java])
    headers = ["operator", "words a sentence", *map(str.title, LANGUAGES)]
    headers += ["Python ÷ Java", "Node ÷ Java"]
    formats = ("", "", ",.1f", ",.1f", ",.1f", ".1f", ".1f")
    return tabulate(rows, headers, tablefmt="github", floatfmt=formats)


def drivers(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each language and the command that times its function, but for the last arguments."""
    python = RUNTIMES / "python/bin/python"
    yield "python", [str(python), str(HERE / "drive.py"), str(BUILT / "PythonTokenizer")]
    node = RUNTIMES / "node/bin/node"
    yield "node", [str(node), str(HERE / "drive.mjs"), str(BUILT / "NodeTokenizer")]
    classes = f"{BUILT / 'JavaTokenizer'}:{RUNTIMES / 'java/lib'}/*"
    source = HERE / "java/tokenizer/Drive.java"
    subprocess.run([jdk("javac"), "-cp", classes, "-d", folder, source], check=True)
    # As Lambda starts Java 17: with the first of its two compilers only.
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    yield "java", [jdk("java"), *options, "-cp", f"{folder}:{classes}", "tokenizer.Drive"]


def jdk(program: str) -> str:
    home = os.environ.get("JAVA_HOME")
    found = f"{home}/bin/{program}" if home else shutil.which(program)
    if not found:
        sys.exit(f"there is no {program} here; `scripts/setup` brings a JDK")
    return found


if __name__ == "__main__":
    sys.exit(main())
