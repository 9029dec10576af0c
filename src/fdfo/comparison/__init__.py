"""Several methods at equal cost: a plan, its runs, what they cost, what is chosen, what is claimed, and the page.

plan.py is what a person writes, cells.py the runs that it means, refusals.py what is wrong with it; conduct.py and
workers.py run them, and results.py keeps what they measured, of which everything else is made. probe.py measures
gradients instead.
"""
