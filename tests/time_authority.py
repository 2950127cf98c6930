"""A time-stamping authority on this machine: certificates of its own, answers by openssl over HTTP."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

SETTINGS = """
[tsa]
default_tsa = here
[here]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
ess_cert_id_alg = sha256
[stamps]
extendedKeyUsage = critical,timeStamping
"""
NEW = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
ISSUE = "openssl x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key"


def make_authority(folder: Path) -> Path:
    """Makes the keys and certificates of an authority in a new folder and returns it; `ca.pem` is for verifiers."""
    folder.mkdir()
    (folder / "settings").write_text(SETTINGS)
    (folder / "serial").write_text("01\n")
    for command in (
        f"{NEW} -x509 -days 30 -subj /CN=root-{folder.name} -keyout ca.key -out ca.pem",
        f"{NEW} -subj /CN=authority -keyout tsa.key -out tsa.csr",
        f"{ISSUE} -days 30 -extfile settings -extensions stamps -out tsa.pem",
    ):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


@contextmanager
def running(folder: Path, change=lambda answer: answer) -> Iterator[str]:
    """Context with the address of the authority of a folder; `change` is applied to its answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            (folder / "asked").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            command = "openssl ts -reply -config settings -queryfile asked -out answer"
            subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(change((folder / "answer").read_bytes()))

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
