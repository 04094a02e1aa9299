"""Whether a figure changed by more than its own rounds scatter.

Everything is judged on logarithms, so that twice and half are equally far. A change counts when it is larger than the
noise: 3.5 standard errors of the medians of both sides, and never less than `FLOOR`. Rounds that scatter by 2 % never
make a change that way, and a loss of 15 % always does; where rounds scatter more, only more can be seen, which is told.
"""

from collections.abc import Sequence
from enum import StrEnum
from math import exp, inf, log, sqrt
from statistics import fmean, median

import msgspec

from bench.baselines import Kept

FLOOR = 0.07
# Times and rates differ more from day to day than ratios taken in turns.
COST_FLOOR = 0.25
_SUSPECT = 0.7
# Of a figure without rounds on both sides.
_WITHOUT_ROUNDS = 0.10
# What noise may hide before a change that is not seen means nothing.
_CLEAR = 0.15
_FEWEST_ROUNDS = 4
_STANDARD_ERRORS, _SUSPECT_STANDARD_ERRORS = 3.5, 2.5
# Both by simulation of 4 to 12 normal values: the standard deviation from the mean distance to the median without the
# farthest value, and the standard error of a median.
_DEVIATION_BY_DISTANCE, _ERROR_OF_MEDIAN = 1.6, 1.2


class Verdict(StrEnum):
    """What became of a figure."""

    WORSE = "worse"
    SUSPECT = "suspect"
    BETTER = "better"
    UNCLEAR = "unclear"
    SAME = "same"


class Series(msgspec.Struct, frozen=True):
    """One measurement: a value for which less is better, and its rounds, if it has any."""

    value: float
    rounds: tuple[float, ...] = ()


class Change(msgspec.Struct, frozen=True):
    """How much larger a value is than before, and what noise may account for, both as fractions: 0.2 is a fifth."""

    loss: float
    noise: float
    verdict: Verdict


def judge(before: Series, now: Sequence[Series], *, floor: float = FLOOR) -> Change:
    """What all measurements of now say together, which are taken again where the first was suspect."""
    has_rounds = any(_has_rounds(each) for each in (before, *now))
    least = floor if has_rounds else max(floor, _WITHOUT_ROUNDS)
    noise = max(log(1 + least), _STANDARD_ERRORS * _error(before, now))
    loss = _loss(before, now)
    if loss > noise:
        verdict = Verdict.WORSE
    elif loss < -noise:
        verdict = Verdict.BETTER
    else:
        verdict = Verdict.UNCLEAR if noise > log(1 + max(_CLEAR, floor)) else Verdict.SAME
    return Change(exp(loss) - 1, exp(noise) - 1, verdict)


def is_suspect(before: Series, now: Series, *, floor: float = FLOOR) -> bool:
    """Whether a first measurement is bad enough to measure again."""
    return _loss(before, [now]) > max(log(1 + _SUSPECT * floor), _SUSPECT_STANDARD_ERRORS * _error(before, [now]))


def judge_counts(before: float, now: Sequence[float]) -> Change:
    """Numbers that have no noise, such as statements of a request: each more is worse."""
    most = min(now)
    loss = most / before - 1 if before else (inf if most else 0.0)
    return Change(loss, 0.0, Verdict.WORSE if loss > 0 else Verdict.BETTER if loss < 0 else Verdict.SAME)


def value_of(kept: Kept) -> Series:
    """The figure itself, turned so that less is better."""
    return Series(_turned(kept, kept.value), tuple(_turned(kept, each) for each in kept.rounds))


def cost_of(kept: Kept) -> Series | None:
    """The product's own milliseconds, if they are known: a ratio hides what makes both sides slow."""
    return None if not kept.product_ms else Series(kept.product_ms, kept.product_rounds_ms)


def is_relative(kept: Kept) -> bool:
    """Whether the figure compares two sides of one run, so that it means something on another machine."""
    return kept.unit.startswith(("x ", "%")) or is_count(kept)


def is_count(kept: Kept) -> bool:
    """Whether the figure is a number of things and not a measured quantity."""
    return kept.unit == "statements"


def _turned(kept: Kept, value: float) -> float:
    if not kept.at_least:
        return value
    # Of a saving, what is left to pay: from 96 to 92 % it doubles.
    return 100 - value if kept.unit.startswith("%") else 1 / value if value else inf


def _has_rounds(series: Series) -> bool:
    return len(series.rounds) >= _FEWEST_ROUNDS


def _loss(before: Series, now: Sequence[Series]) -> float:
    values = [each.value for each in now]
    if not any(_has_rounds(each) for each in now):
        # One bad moment makes a single value bad, and nothing makes it better than it is.
        values = [min(values)]
    if before.value <= 0 or min(values) <= 0:
        return 0.0 if before.value >= min(values) else inf
    return fmean(map(log, values)) - log(before.value)


def _error(before: Series, now: Sequence[Series]) -> float:
    """The standard error of the difference, from the rounds of all measurements together.

    A side without rounds is taken to scatter as the other does, and to have as many.
    """
    known = [each for each in (before, *now) if _has_rounds(each)]
    if not known:
        return 0.0
    deviation = fmean(_deviation(each) for each in known)
    rounds = sum(len(each.rounds) for each in now if _has_rounds(each)) or len(before.rounds)
    rounds_before = len(before.rounds) if _has_rounds(before) else len(known[0].rounds)
    return _ERROR_OF_MEDIAN * deviation * sqrt(1 / rounds + 1 / rounds_before)


def _deviation(series: Series) -> float:
    """The standard deviation of the rounds. The farthest of them is left out: one hiccup must not hide a loss."""
    logarithms = [log(each) for each in series.rounds if each > 0]
    if len(logarithms) < _FEWEST_ROUNDS:
        return 0.0
    middle = median(logarithms)
    distances = sorted(abs(each - middle) for each in logarithms)[:-1]
    return _DEVIATION_BY_DISTANCE * sum(distances) / (len(logarithms) - 2)
