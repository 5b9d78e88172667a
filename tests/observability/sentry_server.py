"""A server that speaks Sentry's envelope endpoint, to which this process reports its errors."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import sentry_sdk

from seda.observability.error_reports import configure_error_reports


@contextmanager
def sentry_envelopes() -> Iterator[list[bytes]]:
    """What the server was sent so far, whole envelopes."""
    received: list[bytes] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            zipped = self.headers.get("Content-Encoding") == "gzip"
            received.append(gzip.decompress(body) if zipped else body)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    Thread(target=server.serve_forever, daemon=True).start()
    configure_error_reports(f"http://key@127.0.0.1:{server.server_port}/1", "qa")
    yield received
    sentry_sdk.init()  # reports nothing any more
    server.shutdown()
    server.server_close()
