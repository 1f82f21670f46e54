"""Scores of outputs, and what they say: which cell a run stands in, means with intervals, paired comparisons.

scipy, statsmodels and matplotlib are imported here only.
"""
