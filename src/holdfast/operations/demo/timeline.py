"""The month that is lived through: a clock that can be set, and what happens when."""

import heapq
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import count

Happening = Callable[[], Awaitable[None]]

_TICK = timedelta(milliseconds=3)


class DemoClock:
    """A clock that stands still but for a tick each time it is read, so that what is made in turn is told in turn."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The present moment of the demo."""
        self.now += _TICK
        return self.now

    def move_to(self, moment: datetime) -> None:
        """Go on to a moment; never back."""
        self.now = max(self.now, moment)


class Timeline:
    """What is still to happen, in the order of time. What happens may put more on the line."""

    def __init__(self, clock: DemoClock, end: datetime) -> None:
        self.clock = clock
        self.start = clock.now
        self.end = end
        self._waiting: list[tuple[datetime, int, Happening]] = []
        self._numbers = count()

    def at(self, moment: datetime, happening: Happening) -> None:
        """Let something happen. What lies beyond the end never does: it is how forms stay open and jobs run on."""
        heapq.heappush(self._waiting, (moment, next(self._numbers), happening))

    def after(self, hours: float, happening: Happening) -> None:
        """Let something happen some hours from the present moment."""
        self.at(self.clock.now + timedelta(hours=hours), happening)

    async def run(self, progress: Callable[[float], None]) -> None:
        """Live to the end; `progress` is told the share of the month that is over."""
        while self._waiting and self._waiting[0][0] < self.end:
            moment, _, happening = heapq.heappop(self._waiting)
            self.clock.move_to(moment)
            progress((self.clock.now - self.start) / (self.end - self.start))
            await happening()
