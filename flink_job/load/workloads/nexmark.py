"""Nexmark: persons, auctions and bids in the proportions 1 : 3 : 46, after the Apache Beam suite.

The *sentences* of this workload are the texts of the auctions, in the order of their events:
sentence k is the k-th auction's item name and description. Persons and bids have no text that a
tokenizer would read; `Nexmark.event` gives them too, so that the whole stream can be checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flink_job.load.workloads.stream import Workload, below

PERSONS, AUCTIONS, BIDS = 1, 3, 46
EPOCH = PERSONS + AUCTIONS + BIDS
FIRST_NAMES = "Peter Paul Luke John Saul Vicky Kate Julie Sarah Deiter Walter".split()  # noqa: SIM905
LAST_NAMES = "Shultz Abrams Spencer White Bartels Walton Smith Jones Noris".split()  # noqa: SIM905
CITIES = (
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
)
STATES = ("AZ", "CA", "ID", "OR", "WA", "WY")
HOT_CHANNELS = ("Google", "Facebook", "Baidu", "Apple")
COLD_CHANNELS = 10_000
# Who is hot changes every 100 persons or auctions; who is not hot is one of the recent ones.
_HOT_SPAN, _RECENT_PERSONS, _RECENT_AUCTIONS = 100, 1000, 100
_ITEM_NAME, _DESCRIPTION, _URL_PART = 20, 100, 5
# A byte is a space with P 1/13 and each letter with P 6/169; the other 87 values are struck out.
_SYMBOLS = bytes.maketrans(bytes(range(169)), b" " * 13 + b"abcdefghijklmnopqrstuvwxyz" * 6)
_STRUCK_OUT = bytes(range(169, 256))


@dataclass(frozen=True)
class Person:
    """Ids of persons and auctions count from 0."""

    id: int
    name: str
    email: str
    card: str
    city: str
    state: str


@dataclass(frozen=True)
class Auction:
    id: int
    item_name: str
    description: str
    seller: int


@dataclass(frozen=True)
class Bid:
    auction: int
    bidder: int
    price: int
    channel: str
    url: str


def _string(limit: int, noise: bytes) -> str:
    """Nexmark's random string: 3 to `limit` - 1 characters, each a space or a-z, then trimmed."""
    length = 3 + below(limit - 3, int.from_bytes(noise[:2], "little"))
    return noise[2:].translate(_SYMBOLS, _STRUCK_OUT)[:length].strip(b" ").decode("ascii")


def _noise_for(limit: int) -> int:
    """Bytes for `_string`: two for the length, the rest enough since 2 in 3 survive."""
    return 2 + 16 + 3 * limit


class Nexmark(Workload):
    """`vqhhdp ehk xfi…`: item name and description of an auction, 62 characters on average."""

    name: ClassVar[str] = "nexmark"
    block_size = 96

    def block(self, number: int) -> list[str]:
        first = number * self.block_size
        return [" ".join(self.text(k)) for k in range(first, first + self.block_size)]

    def text(self, k: int) -> tuple[str, str]:
        """Item name and description of the k-th auction."""
        split = _noise_for(_ITEM_NAME)
        noise = self.noise("text", k, split + _noise_for(_DESCRIPTION))
        return _string(_ITEM_NAME, noise[:split]), _string(_DESCRIPTION, noise[split:])

    def event(self, n: int) -> Person | Auction | Bid:
        """Event `n`: a person if n mod 50 = 0, an auction if 1 to 3, else a bid."""
        epoch, offset = divmod(n, EPOCH)
        if offset < PERSONS:
            return self._person(epoch)
        if offset < PERSONS + AUCTIONS:
            return self._auction(epoch, epoch * AUCTIONS + offset - PERSONS)
        return self._bid(n, epoch, epoch * AUCTIONS + AUCTIONS - 1)

    def _person(self, person: int) -> Person:
        first, last, city, state, *card = self.draws("person", person, 8)
        names = FIRST_NAMES[below(11, first)], LAST_NAMES[below(9, last)]
        return Person(
            id=person,
            name=" ".join(names),
            email=".".join(names).lower() + "@example.com",
            card=" ".join(f"{below(10_000, group):04}" for group in card),
            city=CITIES[below(len(CITIES), city)],
            state=STATES[below(len(STATES), state)],
        )

    def _auction(self, last_person: int, auction: int) -> Auction:
        hot, which = self.draws("auction", auction, 2)
        seller = _hot(last_person) if below(4, hot) else _recent(last_person, which)
        return Auction(auction, *self.text(auction), seller)

    def _bid(self, n: int, last_person: int, last_auction: int) -> Bid:
        hot_auction, auction, hot_bidder, bidder, high, low, hot_channel, channel = self.draws(
            "bid", n, 8
        )
        u = (high * 65536 + low) / 2**32
        noise = self.noise("url", n, 3 * _noise_for(_URL_PART))
        size = len(noise) // 3
        parts = [_string(_URL_PART, noise[i * size : (i + 1) * size]) for i in range(3)]
        return Bid(
            auction=_hot(last_auction)
            if below(2, hot_auction)
            else _recent(last_auction, auction, _RECENT_AUCTIONS),
            bidder=_hot(last_person) if below(4, hot_bidder) else _recent(last_person, bidder),
            price=round(100 * 10 ** (6 * u)),
            channel=HOT_CHANNELS[below(4, channel)]
            if below(2, hot_channel)
            else f"channel-{below(COLD_CHANNELS, channel)}",
            url="https://www.nexmark.com/"
            + "/".join(parts).replace(" ", "_")
            + "/item.htm?query=1",
        )


def _hot(last: int) -> int:
    """The hot one among 0…last."""
    return last // _HOT_SPAN * _HOT_SPAN


def _recent(last: int, draw: int, span: int = _RECENT_PERSONS) -> int:
    """One of the last `span` among 0…last."""
    known = min(last + 1, span)
    return last + 1 - known + below(known, draw)
