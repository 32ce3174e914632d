"""Random sentences: 5 to 15 words of a fixed vocabulary, some of them capitalised or not ASCII."""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from typing import ClassVar

from flink_job.load.workloads.stream import Workload, below

# In order of frequency: the k-th word is drawn with a weight of 1/(k + 2) (Zipf-Mandelbrot).
_WORDS = """
the of and to in a is that for it was on are as with they at be this from have or by one had not
but what all were when we there can an your which their said if do will each about how up out them
then she many some so these would other into has more her two like him see time could no make than
first been its who now people my made over did down only way find use may water long little very
after words called just where most know get through back much before go good new write our used me
man too any day same right look think also around another came come work three word must because
does part even place well such here take why things help put years different away again off went
old number great tell men say small every found still between name should home big give air line
set own under read last never us left end along while might next sound below saw something thought
both few those always looked show large often together asked house world going want school important
until form food keep children feet land side without boy once animals life enough took sometimes
four head above kind began almost live page got earth need far hand high year mother light parts
country father let night following picture being study second eyes soon times story boys since white
days ever paper hard near sentence better best across during today others however sure means knew
it's told whole ice early river letters co-op surface state-of-the-art 2.5 R&D top-10 rock'n'roll
café naïve Zürich straße piñata São déjà-vu Αθήνα мир 東京 Kraków İstanbul
"""
_SHORTEST, _LONGEST = 5, 15
_ENDS = (".", ".", ".", ".", ".", "!", "?", "")


@cache
def _slots() -> list[str]:
    """65,536 slots, each word in as many as its weight: one 16-bit draw gives a word."""
    words = _WORDS.split()
    sums = list(accumulate(1 / (k + 2) for k in range(len(words))))
    slots: list[str] = []
    for word, upto in zip(words, sums, strict=True):
        slots += [word] * (round(65536 * upto / sums[-1]) - len(slots))
    return slots


class RandomSentences(Workload):
    """`Is, it the second she told one set for.`: 10 words and 43 bytes on average."""

    name: ClassVar[str] = "sentences"
    block_size: ClassVar[int] = 128

    def block(self, number: int) -> list[str]:
        slots = _slots()
        stride = _LONGEST + 3
        draws = self.draws("words", number, self.block_size * stride)
        found = []
        for at in range(0, len(draws), stride):
            length, comma, end = draws[at : at + 3]
            first = at + 3
            upto = first + _SHORTEST + below(_LONGEST - _SHORTEST + 1, length)
            words = [slots[draw] for draw in draws[first:upto]]
            words[0] = words[0][0].upper() + words[0][1:]
            if comma < 8192:  # one sentence in eight; the same draw says behind which word
                words[below(len(words) - 1, comma * 8)] += ","
            found.append(" ".join(words) + _ENDS[below(len(_ENDS), end)])
        return found
