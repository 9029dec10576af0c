"""Several methods at equal cost and at equal steps: a plan, its runs, what they cost, what is chosen, and the page.

plan.py is what a person writes (reading.py reads it), cells.py the runs that it means, refusals.py what is wrong with
it; counting.py and prices.py say what an epoch costs, estimate.py how long all of it takes. conduct.py, tuning.py and
workers.py run them, and results.py keeps what they measured, of which everything else is made: curves.py as arrays,
effects.py compared, statistics.py with intervals, verdicts.py against claims; then tables and pages. probe.py measures
gradients instead.
"""
