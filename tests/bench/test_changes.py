"""What counts as a change, on made-up rounds: 2 % of noise never does, a loss of 15 % always."""

import random
from collections.abc import Callable, Sequence

import pytest

from bench.baselines import Kept
from bench.changes import FLOOR, Series, Verdict, cost_of, is_suspect, judge, judge_counts, value_of

_TRIALS = 1000
Draw = Callable[[float], Series]


def _draws(*, noise: float, rounds: int, hiccup: float = 1.0) -> Draw:
    """Measurements of a value: the median of rounds with so much noise, one of which has a hiccup."""
    generator = random.Random(rounds)  # noqa: S311 - the same each time

    def draw(level: float) -> Series:
        drawn = [level * generator.lognormvariate(0, noise) for _ in range(rounds)]
        drawn[generator.randrange(rounds)] *= hiccup
        return Series(sorted(drawn)[rounds // 2], tuple(drawn))

    return draw


def _verdict(draw: Draw, before: float, now: float) -> Verdict:
    """As `bench.compare` goes about it."""
    kept, first = draw(before), draw(now)
    if not is_suspect(kept, first):
        change = judge(kept, [first])
        return Verdict.SAME if change.verdict is Verdict.WORSE else change.verdict
    return judge(kept, [first, draw(now)]).verdict


def _share(draw: Draw, before: float, now: float, verdict: Verdict, trials: int = _TRIALS) -> float:
    return sum(_verdict(draw, before, now) is verdict for _ in range(trials)) / trials


@pytest.mark.parametrize("rounds", [5, 7])
@pytest.mark.parametrize("hiccup", [1.0, 1.3])
def test_two_percent_of_noise_never_trips(rounds: int, hiccup: float) -> None:
    assert _share(_draws(noise=0.02, rounds=rounds, hiccup=hiccup), 1.3, 1.3, Verdict.WORSE) == 0


@pytest.mark.parametrize("rounds", [5, 7])
def test_a_loss_of_fifteen_percent_always_trips(rounds: int) -> None:
    assert _share(_draws(noise=0.02, rounds=rounds), 1.3, 1.3 * 1.15, Verdict.WORSE) == 1


@pytest.mark.parametrize("rounds", [5, 7])
def test_a_hiccup_in_each_measurement_hides_hardly_any_loss(rounds: int) -> None:
    assert _share(_draws(noise=0.02, rounds=rounds, hiccup=1.3), 1.3, 1.3 * 1.15, Verdict.WORSE) >= 0.995


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2])
def test_more_noise_seldom_trips(noise: float) -> None:
    draw = _draws(noise=noise, rounds=7)
    assert _share(draw, 1.0, 1.0, Verdict.WORSE) <= 0.005
    assert _share(draw, 1.0, 2.5, Verdict.WORSE) >= 0.99


def test_what_noise_hides_is_unclear_and_not_the_same() -> None:
    scattered = Series(1.0, (0.7, 0.9, 1.0, 1.2, 1.5))
    change = judge(scattered, [Series(1.1, (0.8, 1.0, 1.1, 1.3, 1.6))])
    assert change.verdict is Verdict.UNCLEAR
    assert change.noise > 0.3


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (1.0, (1.15,), Verdict.WORSE),
        (1.0, (1.15, 1.02), Verdict.SAME),
        (1.0, (1.02,), Verdict.SAME),
        (1.0, (0.8,), Verdict.BETTER),
        (0.0, (0.0,), Verdict.SAME),
        (0.0, (0.1,), Verdict.WORSE),
    ],
)
def test_single_values_are_judged_by_the_best_of_them(before: float, now: Sequence[float], verdict: Verdict) -> None:
    assert judge(Series(before), [Series(each) for each in now]).verdict is verdict


def test_a_baseline_without_rounds_is_taken_to_scatter_as_the_new_ones() -> None:
    steady = Series(1.2, (1.19, 1.2, 1.2, 1.21, 1.2))
    assert judge(Series(1.0), [steady]).verdict is Verdict.WORSE
    assert judge(Series(1.0), [Series(1.2, (0.8, 1.0, 1.2, 1.4, 1.7))]).verdict is Verdict.UNCLEAR


def test_a_statement_more_is_worse() -> None:
    assert judge_counts(3, [4, 4]).verdict is Verdict.WORSE
    assert judge_counts(3, [4, 3]).verdict is Verdict.SAME
    assert judge_counts(4, [3]).verdict is Verdict.BETTER


def test_what_should_be_large_is_turned() -> None:
    times_less = Kept(value=10.0, unit="x less than peer", at_least=True, rounds=(8.0, 10.0))
    assert value_of(times_less) == Series(0.1, (0.125, 0.1))
    # From 96 to 92 % saved, what is left to pay doubles.
    before, now = (value_of(Kept(value=value, unit="% saved", at_least=True)) for value in (96.0, 92.0))
    assert judge(before, [now]).loss == pytest.approx(1.0)


def test_the_cost_has_a_higher_floor() -> None:
    before, now = (cost_of(Kept(value=1.0, unit="x", product_ms=cost)) for cost in (1.0, 1.15))
    assert before is not None
    assert now is not None
    assert not is_suspect(before, now, floor=0.25)
    assert is_suspect(before, now, floor=FLOOR)
    assert cost_of(Kept(value=1.0, unit="x")) is None
