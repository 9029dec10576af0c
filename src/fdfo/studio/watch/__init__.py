"""Watching runs: which there are, how they are, and what may be done to them. Reads run folders.

library.py    the run folders below some folders
status.py     how a run is: running, finished, stopped; how long it will take
parts.py      what pages show of runs, part by part, as the report shows it
contact.py    a sheet: a row for each checkpoint of runs, a column for each prompt
actions.py    the few things that change something: stop, keep, export, draw
"""
