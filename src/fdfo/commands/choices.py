"""`fdfo choices`: what people chose, afterwards."""

from collections.abc import Sequence
from pathlib import Path

from fdfo.commands.output import prepare_output
from fdfo.commands.terminal import say
from fdfo.errors import CheckpointError
from fdfo.studio.choices import FILE, Choice, Journal
from fdfo.studio.export import export
from fdfo.studio.statistics import between_people, habits, kappas
from fdfo.words import plural


def run_export(runs: Sequence[Path], output: Path) -> None:
    """Write a data set, and tell what it holds. Raises CheckpointError where nobody chose, or it cannot be written."""
    for run in runs:
        choices_of(run)
    prepare_output(output)
    try:
        done = export(runs, output)
    except OSError as error:
        raise CheckpointError(f"cannot write {output}: {error.strerror or error}; give another --output") from error
    say(f"wrote {output}: {plural(done.rows, 'choice')}")
    for count, what in ((done.skipped, "skipped"), (done.repeats, "repeated"), (done.missing, "without pictures")):
        if count:
            say(f"  {count} {what}: left out")


def run_stats(runs: Sequence[Path]) -> None:
    """Print how people chose. Raises CheckpointError where nobody did."""
    choices = [choice for run in runs for choice in choices_of(run)]
    for person in habits(choices):
        counts = person.counts
        sides = counts["first"] + counts["second"]
        say(f"{person.who}: {plural(sum(counts.values()), 'pair')}, {person.median_s:.1f} s each (median)")
        say(f"  no preference {counts['tie']}, skipped {counts['skip']}, left picture {person.left} of {sides}")
        alike, again = person.alike
        say(
            f"  with themselves: {alike} of {plural(again, 'pair')} that came again"
            if again
            else "  nothing came again"
        )
    unanimous, shared = between_people(choices)
    if shared:
        say(f"between people: all alike on {unanimous} of {plural(shared, 'pair')} that several chose from")
    for pair in kappas(choices):
        say(f"  {pair.first} and {pair.second}: Cohen's kappa {pair.value:.2f} on {plural(pair.pairs, 'pair')}")


def choices_of(run: Path) -> list[Choice]:
    """What was chosen in a run. Raises CheckpointError where nobody did."""
    if not (run / FILE).is_file():
        raise CheckpointError(f"{run} has no {FILE}; give the folder of a run with reward=[human]")
    return Journal(run).choices()
