"""Random sentences: common words and a long tail of rare ones, some capitalised or not ASCII.

Four words in five are common ones, as often as in English. The fifth is one of thousands that are
made up of syllables and endings: in real texts, too, it is the rare words that a list of merges
does not know as a whole.
"""

from __future__ import annotations

import hashlib
from functools import cache
from itertools import accumulate
from typing import ClassVar

from flink_job.load.workloads.stream import WORDS_PER_SENTENCE, Workload, below

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
# Rare words are one or two syllables and an ending.
_ONSETS, _NUCLEI, _ENDINGS = map(
    str.split,
    (
        "b bl br c ch cl cr d dr f fl fr g gr h j k l m n p pl pr qu r s sh sl sp st str t th v",
        "a a a e e e e i i i o o o u u ai ea ee ie oa oo ou",
        "s ed er ing ion able age al ance ence ful ist ity ive less ly ment ness ous",
    ),
)
_CODAS = ("", "", "", "", "b", "ck", "d", "l", "ld", "m", "n", "n", "nd", "nt", "r", "r", "s")
_SLOTS, _RARE_SLOTS = 65536, 65536 // 5
_ENDS = (".", ".", ".", ".", ".", "!", "?", "")


@cache
def _slots() -> list[str]:
    """65,536 slots, so that one 16-bit draw gives a word: each common word has as many as its
    weight, each rare one has one."""
    words = _WORDS.split()
    sums = list(accumulate(1 / (k + 2) for k in range(len(words))))
    slots: list[str] = []
    for word, upto in zip(words, sums, strict=True):
        slots += [word] * (round((_SLOTS - _RARE_SLOTS) * upto / sums[-1]) - len(slots))
    return slots + [_rare_word(k) for k in range(_RARE_SLOTS)]


def _rare_word(number: int) -> str:
    """`clooltist`: the same for every seed, as a vocabulary is."""
    draws = hashlib.shake_128(f"rare word {number}".encode()).digest(8)
    word = ""
    for at in range(0, 3 * (1 + draws[6] % 2), 3):
        for parts, draw in zip((_ONSETS, _NUCLEI, _CODAS), draws[at : at + 3], strict=True):
            word += parts[draw % len(parts)]
    return word + _ENDINGS[draws[7] % len(_ENDINGS)]


class RandomSentences(Workload):
    """`Is, it the second she told one clooltist for.`: 10 words and 50 bytes on average.

    Lengths are uniform from half the mean to one and a half times the mean.
    """

    name: ClassVar[str] = "sentences"

    @property
    def block_size(self) -> int:
        """About as many words, however long the sentences."""
        return max(1, 128 * WORDS_PER_SENTENCE // self.words_per_sentence)

    def block(self, number: int) -> list[str]:
        slots = _slots()
        shortest = max(1, self.words_per_sentence // 2)
        longest = 2 * self.words_per_sentence - shortest
        stride = longest + 3
        draws = self.draws(f"{self.words_per_sentence} words", number, self.block_size * stride)
        found = []
        for at in range(0, len(draws), stride):
            length, comma, end = draws[at : at + 3]
            first = at + 3
            upto = first + shortest + below(longest - shortest + 1, length)
            words = [slots[draw] for draw in draws[first:upto]]
            words[0] = words[0][0].upper() + words[0][1:]
            if comma < 8192:  # one sentence in eight; the same draw says behind which word
                words[below(len(words) - 1, comma * 8)] += ","
            found.append(" ".join(words) + _ENDS[below(len(_ENDS), end)])
        return found
