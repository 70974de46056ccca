"""A bucket: the part of S3 that we use, over HTTP, with signatures that are checked as Amazon describes it.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hashlib
import hmac
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

NAME, KEY_ID, SECRET, REGION = "pantheon-files", "AKIATEST", "the secret of the bucket", "eu-central-2"


class Bucket(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.is_down = False
        self.breaks_off = False
        """In the middle of each object that is asked for."""
        super().__init__(("127.0.0.1", 0), _Handler)

    def environment(self, secret: str = SECRET) -> dict[str, str]:
        """What leads to it, as operators set it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_port}",
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": REGION,
        }


@contextmanager
def bucket() -> Iterator[Bucket]:
    with Bucket() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do_PUT(self) -> None:
        if (key := self._admitted()) is not None:
            self.server.objects[key] = self.body
            self._answer(200, etag=f'"{hashlib.md5(self.body).hexdigest()}"')

    def do_HEAD(self) -> None:
        self._give()

    def do_GET(self) -> None:
        self._give()

    def do_POST(self) -> None:
        """Deletes many at once, which is how the library deletes one. Fine where there is nothing, as at Amazon's."""
        if self._admitted() is not None:
            keys = re.findall(r"<Key>(.*?)</Key>", self.body.decode())
            for key in keys:
                self.server.objects.pop(key, None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def _give(self) -> None:
        if (key := self._admitted()) is None:
            return
        whole = self.server.objects.get(key)
        if whole is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        etag = f'"{hashlib.md5(whole).hexdigest()}"'
        modified = "Thu, 26 Nov 2026 12:00:00 GMT"
        if found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            start, end = int(found[1]), min(int(found[2]), len(whole) - 1)
            part = whole[start : end + 1]
            told = f"bytes {start}-{end}/{len(whole)}"
            self._answer(206, part, content_range=told, etag=etag, last_modified=modified)
        else:
            self._answer(200, whole, etag=etag, last_modified=modified)

    def _admitted(self) -> str | None:
        """The key that is asked for; None where the request was answered already."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        self.server.asked.append((self.command, path))
        if self.server.is_down:
            self._answer(503, b"<Error><Code>SlowDown</Code></Error>")
        elif not hmac.compare_digest(self.headers.get("Authorization", ""), self._signed()):
            self._answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        elif path.split("/")[1] != NAME:
            self._answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        else:
            return path.removeprefix(f"/{NAME}").lstrip("/")
        return None

    def _signed(self) -> str:
        """The header that this request must have been sent with."""
        url, time = urlsplit(self.path), self.headers.get("x-amz-date", "")
        listed = re.search(r"SignedHeaders=([a-z0-9;-]+)", self.headers.get("Authorization", ""))
        names = listed[1].split(";") if listed else []
        scope = f"{time[:8]}/{REGION}/s3/aws4_request"
        headers = "".join(f"{name}:{self.headers.get(name, '').strip()}\n" for name in names)
        # The payload is part of what is signed, so nothing can be altered on its way.
        payload = hashlib.sha256(self.body).hexdigest()
        query = urlencode(sorted(parse_qsl(url.query, keep_blank_values=True)), quote_via=quote)
        request = "\n".join([self.command, url.path, query, headers, ";".join(names), payload])
        told = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = f"AWS4{SECRET}".encode()
        for part in (*scope.split("/"), told):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = key.hex()
        return f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"

    def _answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.command == "GET" and self.server.breaks_off:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
