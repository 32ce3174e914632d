"""The Yahoo streaming benchmark: advertising events, one JSON line each; the line is the sentence.

A line has exactly 29 `\\W+` tokens, 30 if its ad type is `sponsored-search`. Our own rule separates
at `_` too, which `\\W` does not: 7 of the names are two tokens then, hence 36, or 37.
"""

from __future__ import annotations

import hashlib
import uuid
from functools import cached_property
from typing import ClassVar

from flink_job.load.workloads.stream import Workload, below

CAMPAIGNS, ADS_PER_CAMPAIGN = 100, 10
USERS, PAGES = 100, 100
AD_TYPES = ("banner", "modal", "sponsored-search", "mail", "mobile")
EVENT_TYPES = ("view", "click", "purchase")
_FIRST_EVENT_MS = 1_500_000_000_000


class Ysb(Workload):
    """One event every millisecond of its own clock; 248 to 264 bytes a line."""

    name: ClassVar[str] = "ysb"
    block_size = 128

    @cached_property
    def ads(self) -> list[str]:
        """The ads' ids; ads 10·c … 10·c + 9 belong to campaign c."""
        return [self._id("ad", i) for i in range(CAMPAIGNS * ADS_PER_CAMPAIGN)]

    @cached_property
    def users(self) -> list[str]:
        return [self._id("user", i) for i in range(USERS)]

    @cached_property
    def pages(self) -> list[str]:
        return [self._id("page", i) for i in range(PAGES)]

    def _id(self, kind: str, i: int) -> str:
        digest = hashlib.sha256(f"{self.name}/{self.seed}/{kind}/{i}".encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def block(self, number: int) -> list[str]:
        users, pages, ads = self.users, self.pages, self.ads
        draws = self.draws("events", number, 5 * self.block_size)
        now_ms = _FIRST_EVENT_MS + number * self.block_size
        return [
            f'{{"user_id": "{users[below(USERS, user)]}", '
            f'"page_id": "{pages[below(PAGES, page)]}", '
            f'"ad_id": "{ads[below(len(ads), ad)]}", '
            f'"ad_type": "{AD_TYPES[below(5, ad_type)]}", '
            f'"event_type": "{EVENT_TYPES[below(3, event_type)]}", '
            f'"event_time": "{now_ms + i}", '
            f'"ip_address": "1.2.3.4"}}'
            for i, (user, page, ad, ad_type, event_type) in enumerate(
                zip(*[iter(draws)] * 5, strict=True)
            )
        ]
