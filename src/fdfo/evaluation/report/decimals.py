"""One number of decimals for a score on a page, wherever it stands: headline, tables, pictures, pairs and curves."""

from collections.abc import Iterable, Mapping, Sequence

from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.report.record import RunRecord
from fdfo.evaluation.report.text import places_of, places_of_spread

Decimals = Mapping[str, int]
"""By label of the score; diversity and signals by their names."""

MOST_BEYOND_SPREAD = 2
"""Decimals that a narrow interval of a difference may add to those that tell single values apart."""


def of_runs(records: Sequence[RunRecord]) -> Decimals:
    """What shows every score of some runs: single values and the change since before training."""
    return together(map(_of_run, records))


def _of_run(record: RunRecord) -> Decimals:
    found: dict[str, int] = {}
    keys = {score.key: score.label for score in record.scores}
    ends = record.evaluations[:1] + record.evaluations[-1:]
    _add(found, ends, keys | {name: name for past in ends[:1] for name in _others(past)})
    return found


def together(found: Iterable[Decimals]) -> Decimals:
    """What shows the scores of several pages on one."""
    most: dict[str, int] = {}
    for decimals in found:
        for label, places in decimals.items():
            most[label] = max(most.get(label, 0), places)
    return most


def of_results(results: Mapping[str, Evaluation]) -> Decimals:
    """What shows every score of evaluations of the same prompts and noise, the base first."""
    base, *others = results.values()
    found: dict[str, int] = {}
    for other in others or [base]:
        _add(found, [base, other], {name: name for name in (*base.scores, *_others(base))})
    return found


def _others(evaluation: Evaluation) -> Iterable[str]:
    return (*evaluation.signals, *(["diversity"] if evaluation.diversity is not None else []))


def _add(found: dict[str, int], ends: Sequence[Evaluation], labels: Mapping[str, str]) -> None:
    """Raise the decimals to what the first and the last of some evaluations need."""
    for key, label in labels.items():
        known = [end for end in ends if key in end.metrics or key in end.signals]
        if not known:
            continue
        first, last = known[0], known[-1]
        spread = places_of_spread(first.values(key))
        gain = places_of(last.gain(first, key)) if _are_paired(first, last) else spread
        found[label] = max(found.get(label, 0), spread, min(gain, spread + MOST_BEYOND_SPREAD))


def _are_paired(first: Evaluation, last: Evaluation) -> bool:
    return first is not last and first.prompts == last.prompts
