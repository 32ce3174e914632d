"""What a reader has to know of the capacity that all rates of a run are multiples of."""

from __future__ import annotations

import pandas as pd

from bench.report.gather.evidence import Evidence


def drifted(e: Evidence) -> list[str]:
    """A sentence for each measurement that came to no steady throughput, and for each worker whose
    capacity after the surges is not within the interval of what it was before them; none where it
    held, or was not measured twice."""
    said = [
        f"the worker's throughput was not steady when it was measured {row['when']} the surges "
        f"({row['operator']}, {row['words_per_sentence']} words a sentence): rates are "
        "multiples of a capacity that is not known well"
        for _, row in e.frames["capacity"].iterrows()
        if pd.notna(row["steady"]) and not row["steady"]
    ]
    keys = ["run", "operator", "words_per_sentence", "batch_size"]
    for (_, operator, words, size), group in e.frames["capacity"].groupby(keys, sort=False):
        by = {when: rows.iloc[-1] for when, rows in group.groupby("when")}
        if not {"before", "after"} <= by.keys():
            continue
        before, after = by["before"], by["after"]
        if pd.isna(before["low_per_s"]) or pd.isna(before["high_per_s"]):
            continue
        if before["low_per_s"] <= after["per_s"] <= before["high_per_s"]:
            continue
        said.append(
            f"the worker's capacity ({operator}, {words} words a sentence, batches of {size}) was "
            f"{before['per_s']:,.0f} sentences/s ({before['low_per_s']:,.0f} to "
            f"{before['high_per_s']:,.0f}) before the surges and {after['per_s']:,.0f} after them: "
            "rates are multiples of the first, so a later surge was more or less than it says"
        )
    return said
