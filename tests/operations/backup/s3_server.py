"""An S3-compatible server for tests: moto as a process of its own, on a loopback port."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from tests.servers.process import free_loopback_port

KEY, SECRET = "tests-key", "tests-secret"
_START_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    """Where it answers."""

    endpoint: str

    def make_bucket(self, name: str) -> None:
        httpx.put(f"{self.endpoint}/{name}", headers=_SIGNED, timeout=30).raise_for_status()

    def multipart_uploads(self, bucket: str) -> str:
        """What the server keeps of uploads in parts that were never ended."""
        return httpx.get(f"{self.endpoint}/{bucket}?uploads", headers=_SIGNED, timeout=30).text

    def change(self, bucket: str, path: str, content: bytes) -> None:
        httpx.put(f"{self.endpoint}/{bucket}/{path}", content=content, headers=_SIGNED, timeout=30).raise_for_status()


# The server checks no signature, but tells requests to its buckets by that there is one.
_SIGNED = {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20261123/us-east-1/s3/aws4_request"}


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    port = free_loopback_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
    )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{endpoint}/moto-api/", timeout=10).status_code == 200:
                    break
            assert process.poll() is None, "the S3 server ended at its start"
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.05)
        yield S3Server(endpoint)
    finally:
        process.terminate()
        process.wait(30)
