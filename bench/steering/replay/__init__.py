"""Policies tried without Flink: in a closed loop on a model of the job, and on recorded metrics.

Four figures say whether a policy can be trusted, one table how near it comes to the oracle. All of
it is computed, and none of it measured, but for the recorded metrics.
"""
