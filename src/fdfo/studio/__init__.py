"""The local web application over run folders: people choose pictures here, and watch runs. Nothing but run folders.

pairs.py      what is asked: pairs of pictures, in rounds that the processes of a run post in its folder
choices.py    what was chosen: one line each in choices.jsonl, on disk before it is acknowledged
people.py     who may choose, each by a token of their own
board.py      from both: which pair comes next for whom, when a round is over, and how it came out
desk.py       the three of one run folder, as pages need them
watch/        watching runs
app.py        the application; routes/ has one file for each part of it, templates/ and static/ what it shows
statistics.py, export.py    afterwards
"""
