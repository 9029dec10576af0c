"""`python -m fdfo` is the command line."""

from fdfo.cli import main

main()
