"""Judging a policy: sampling with fixed seeds, scores, diversity, intervals, alarms, and the report."""
