"""Ends a test server and removes its folder as soon as the process that started it is gone, however it went.

Run as a program: `watchdog.py FOLDER SIGNAL`. Standard input brings the ids of started processes, one per line; its end
is the sign that the owner has finished or was killed. A parent-death signal would not do: the kernel forgets it when
the child changes its user, and it removes no folder.
"""

import os
import select
import shutil
import signal
import sys

SECONDS_TO_END = 10


def end_process(process: int, first_signal: signal.Signals) -> None:
    """End the process behind a pidfd, by force when it does not obey in time. One that has ended already is fine."""
    for number in (first_signal, signal.SIGKILL):
        try:
            signal.pidfd_send_signal(process, number)
        except ProcessLookupError:
            return
        if select.select([process], [], [], SECONDS_TO_END)[0]:
            return


def watch(folder: str, first_signal: signal.Signals) -> None:
    # A pidfd names one process for good, where a bare number may come to mean another one.
    processes = []
    for line in sys.stdin:
        try:
            processes.append(os.pidfd_open(int(line)))
        except ProcessLookupError:
            continue
    for process in processes:
        end_process(process, first_signal)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    watch(sys.argv[1], signal.Signals(int(sys.argv[2])))
