"""Counters and timings of what happens at every request and statement.

They cost a tenth of the client library's own, which takes a lock for each bucket: everything that counts here runs in
the event loop's thread, and a scrape reads the sums there.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Labels = tuple[str, ...]


class Counts(Collector):
    """A counter with labels: `counts.add("GET", "200")`."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._values: dict[Labels, int] = {}
        REGISTRY.register(self)

    def add(self, *labels: str) -> None:
        """Count one."""
        self._values[labels] = self._values.get(labels, 0) + 1

    def read(self) -> dict[Labels, int]:
        """The numbers so far, by their labels."""
        return dict(self._values)

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class Timing:
    """The durations of one kind of thing, in seconds, by bucket."""

    __slots__ = ("_bounds", "buckets", "seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Take one duration."""
        self.buckets[bisect_left(self._bounds, seconds)] += 1
        self.seconds += seconds

    @property
    def runs(self) -> int:
        """How many durations there were."""
        return sum(self.buckets)

    def quantile(self, share: float) -> float:
        """The duration that this share does not exceed, in seconds, taken as evenly spread within its bucket.

        What lies beyond the last bound is told as the last bound.
        """
        wanted = share * self.runs
        lower = 0.0
        below = 0
        for bound, count in zip(self._bounds, self.buckets, strict=False):
            if count and below + count >= wanted:
                return lower + (bound - lower) * (wanted - below) / count
            below += count
            lower = bound
        return lower


class Timings(Collector):
    """A histogram with labels. With `counter` it also counts, in a metric of that name: a timing knows its number."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        bounds: Sequence[float],
        counter: tuple[str, str] | None = None,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._bounds = bounds
        self._counter = counter
        self._timings: dict[Labels, Timing] = {}
        REGISTRY.register(self)

    def of(self, *labels: str) -> Timing:
        """The timing with these labels, for callers to keep."""
        timing = self._timings.get(labels)
        if timing is None:
            timing = self._timings[labels] = Timing(self._bounds)
        return timing

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads."""
        histogram = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        timings = {labels: timing for labels, timing in self._timings.items() if any(timing.buckets)}
        for labels, timing in timings.items():
            histogram.add_metric(labels, list(zip(names, accumulate(timing.buckets), strict=True)), timing.seconds)
        yield histogram
        if self._counter is not None:
            counter = CounterMetricFamily(*self._counter, labels=self._labels)
            for labels, timing in timings.items():
                counter.add_metric(labels, sum(timing.buckets))
            yield counter
