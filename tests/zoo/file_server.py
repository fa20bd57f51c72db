"""A web server on this machine that serves one file, well or badly."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves one file under any name, and remembers what it was asked."""

    status = 200
    ranges = True
    tells_size = True  # where a range begins behind the end
    stamp: str | None = '"first"'
    breaks_after: int | None = None

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.asked: list[str | None] = []

    def url(self, name="weights.pth"):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        start = 0
        same = self.headers.get("If-Range") in (None, server.stamp)
        if wanted and server.ranges and same:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start and start >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            if server.tells_size:
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(206 if start else server.status)
        self.send_header("Content-Length", str(len(body)))
        if start:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
        if server.stamp:
            self.send_header("ETag", server.stamp)
        self.end_headers()
        self.wfile.write(body[: server.breaks_after])

    def log_message(self, *_):
        pass


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """Run a server while it is needed."""
    running = Server(content)
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield running
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
