"""Attacks on a running system, one line each; `python -m benchmarks.faults.attacks --help`."""
