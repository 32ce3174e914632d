"""What the functions cost beside the floor of their language: JSON in, a plain split, JSON out.

    python -m functions.speed

Runs the built functions in their real runtimes (in-process, without the service around them) and
prints the table of CONTRACT.md. Floor and handler take turns on the same payload, in the form
boto3's callers send it, and read and write JSON by the same means: those of AWS's runtime interface
client in Python and Node, the function's own in Java, where the client leaves that to the handler.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / ".aws-sam/build"
RUNTIMES = ROOT / ".runtimes"

SIZES = (1, 10, 100, 1000)
SCRIPT_SIZE = 100
SECONDS = 0.5

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
    """Median microseconds a batch: the floor's, the whole handler's, and its `compute_ns`."""

    floor_us: float
    handler_us: float
    compute_us: float

    @property
    def ratio(self) -> float:
        return self.handler_us / self.floor_us


def sentences(letters: str, count: int) -> list[str]:
    """Seeded sentences of 5–15 words of 2–9 letters, with a full stop."""
    randomness = random.Random(1)

    def word() -> str:
        return "".join(letters[randomness.randrange(len(letters))] for _ in range(length()))

    def length() -> int:
        return randomness.randint(2, 9)

    return [" ".join(word() for _ in range(randomness.randint(5, 15))) + "." for _ in range(count)]


def main() -> None:
    batches = [("ASCII", size) for size in SIZES]
    batches += [(script, SCRIPT_SIZE) for script in SCRIPTS if script != "ASCII"]
    timings: dict[tuple[str, str, int], Timing] = {}
    with tempfile.TemporaryDirectory() as folder:
        payloads = []
        for index, (script, size) in enumerate(batches):
            payloads.append(Path(folder, f"{index}.json"))
            payloads[-1].write_text(json.dumps({"sentences": sentences(SCRIPTS[script], size)}))
        for language, command in drivers(Path(folder)):
            command += [str(SECONDS), *map(str, payloads)]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            for batch, line in zip(batches, printed.splitlines(), strict=True):
                timings[language, *batch] = Timing(*(int(ns) / 1000 for ns in line.split()))
    rows = [
        [language, script, size, t.floor_us, t.handler_us, t.ratio, t.compute_us, beside_ascii]
        for (language, script, size), t in timings.items()
        for ascii_us in [timings[language, "ASCII", size].compute_us]
        for beside_ascii in [t.compute_us / ascii_us]
    ]
    headers = ["", "script", "sentences", "floor, µs", "handler, µs", "ratio"]
    headers += ["compute, µs", "÷ ASCII"]
    formats = ("", "", "", ",.1f", ",.1f", ".2f", ",.1f", ".2f")
    print(tabulate(rows, headers, tablefmt="github", floatfmt=formats))


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
    main()
