"""`python -m bench.peers.django_drf`: becomes gunicorn with one worker."""

import os
import sys

_OPTIONS = ("--workers=1", "--worker-class=gthread", "--threads=16", "--keep-alive=75", "--log-level=warning")

os.execv(  # noqa: S606 - the process that was started is the server, so that its end is the server's
    sys.executable,
    [
        sys.executable,
        "-m",
        "gunicorn",
        f"--bind=127.0.0.1:{os.environ['HOLDFAST_PORT']}",
        *_OPTIONS,
        "bench.peers.django_drf.wsgi:application",
    ],
)
