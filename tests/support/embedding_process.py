"""A server of embeddings in a process of its own, so that it outlives those it serves.

with embedding_server(folder) as server:
    server.url, server.texts()          # every text it was ever asked for, in order
"""

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CODE = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(float(sys.argv[2]))
        with open(sys.argv[1], "a") as log:
            log.write(json.dumps(body["input"]) + "\\n")
        vectors = [[float(len(text)), 3.0, float(text.count("a")), 1.0] for text in body["input"]]
        data = [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        said = json.dumps({"data": data, "model": body["model"]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *words):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@dataclass
class EmbeddingServer:
    url: str
    log: Path

    def texts(self) -> list[str]:
        """All that it has embedded, with repetitions."""
        if not self.log.exists():
            return []
        lines: list[list[str]] = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [text for line in lines for text in line]


@contextmanager
def embedding_server(folder: Path, seconds: float = 0) -> Generator[EmbeddingServer]:
    """It takes so many seconds over each request."""
    log = folder / "embedded.jsonl"
    command = [sys.executable, "-c", _CODE, str(log), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            port = int(process.stdout.readline())
            yield EmbeddingServer(f"http://127.0.0.1:{port}/v1", log)
        finally:
            process.kill()
