"""Measurements of pageblock: instruction counts and ratios, never a time alone.

``python -m bench`` prints them; ``docs/performance.md`` keeps the last results and says what they
mean.
"""
