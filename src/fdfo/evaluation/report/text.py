"""Numbers, durations and prompts as people read them."""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from fdfo.evaluation.statistics import Interval

NONE = "–"
"""Shown where there is no number."""

MINUS = "−"

MAX_PLACES = 6


def number(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant digits and a true minus sign; the empty mark where it is not finite."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -4 or exponent > 8:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    places = max(0, digits - 1 - exponent)
    text = f"{value:,.{places}f}"
    return (text.rstrip("0").rstrip(".") if places else text).replace("-", MINUS)


def fixed(value: float, places: int, signed: bool = False) -> str:
    """A number with a given number of decimals; a zero has no sign.

    Of a signed number only zero itself is a zero: -0.0004 reads -0.00, as a mark beside it says that it fell.
    """
    if not math.isfinite(value):
        return NONE
    text = f"{abs(value):,.{places}f}"
    is_zero = value == 0 if signed else not any(digit in "123456789" for digit in text)
    sign = "" if is_zero else MINUS if value < 0 else "+" if signed else ""
    return sign + text


def places_of(interval: Interval) -> int:
    """Decimals that show an interval's half width with one digit, or with two where it begins with 1 or 2.

    More, where a bound beside zero would read as zero.
    """
    half = (interval.high - interval.low) / 2
    scale = half / 3 if half > 0 else abs(interval.mean) / 1000
    if interval.excludes_zero:
        scale = min(scale, 2 * abs(interval.low), 2 * abs(interval.high))
    return min(MAX_PLACES, max(0, -math.floor(math.log10(scale)))) if scale > 0 and math.isfinite(scale) else 2


def places_of_spread(values: Iterable[float]) -> int:
    """Decimals that tell values apart to about a hundredth of their range: 2 for scores between 0 and 1."""
    finite = [value for value in values if math.isfinite(value)]
    spread = max(finite) - min(finite) if finite else 0.0
    return min(MAX_PLACES, max(0, round(2 - math.log10(spread)))) if spread > 0 else 2


def bounds(interval: Interval, signed: bool = False, places: int | None = None) -> str:
    """`[low, high]`; empty where there are not two values to tell a spread from."""
    if interval.n < 2:
        return ""
    places = places_of(interval) if places is None else places
    return f"[{fixed(interval.low, places, signed)}, {fixed(interval.high, places, signed)}]"


def with_bounds(interval: Interval, places: int | None = None, signed: bool = False) -> str:
    """`mean [low, high]`, by default with the decimals that the interval needs."""
    places = places_of(interval) if places is None else places
    return f"{fixed(interval.mean, places, signed)} {bounds(interval, signed, places)}".strip()


def with_deviation(mean: float, deviation: float, places: int) -> str:
    """`mean ± standard deviation`."""
    spread = f" ± {fixed(deviation, places)}" if math.isfinite(deviation) and deviation > 0 else ""
    return fixed(mean, places) + spread


def short(value: float, digits: int = 4) -> str:
    """A very large or small number with `digits` significant digits for an axis: 12k, 3M, 1.5e−5."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            whole = len(f"{abs(value) / limit:.0f}")  # digits before the point, which are all written
            return f"{value / limit:.{max(digits, whole)}g}{unit}".replace("-", MINUS)
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """`0.8 s`, `41 s`, `3 min 40 s`, `2 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def pixels(resolution: Sequence[int]) -> str:
    """Two sides, as `512 × 512 px`."""
    return "{} × {} px".format(*resolution)


def plain_time(moment: str) -> str:
    """`2026-11-29 09:02 UTC`, of a moment in ISO 8601."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def percent(share: float) -> str:
    """A share in per cent; what is little is not said to be nothing."""
    if not math.isfinite(share):
        return NONE
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def one_line(text: str, limit: int = 120) -> str:
    """Text on one line, cut at `limit` characters with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def unbroken(text: str) -> str:
    """The same text, whose intervals stay on one line each: no-break spaces in brackets without words."""
    return re.sub(r"[\[(][^\]()a-z]*[\])]", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)


def lower_first(text: str) -> str:
    """The same text with a small first letter, unless its first word is an abbreviation."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def enumerate_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
