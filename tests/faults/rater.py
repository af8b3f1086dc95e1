"""An evaluator over HTTP that a test kills: it notes each call, and is quick, slow, wrong or silent as it likes.

python -m tests.faults.rater PORT FILE
"""

from __future__ import annotations

import json
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    notes: Path
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        came_ms = time.time_ns() // 1_000_000
        question: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        note = {"id": question["id"], "came_ms": came_ms, "attempt": question["attempt"]}
        note |= {name: question[name] for name in ("deadline_ms", "final_deadline_ms")}
        note["key"] = self.headers.get("idempotency-key")
        with self.notes.open("a") as notes:
            notes.write(json.dumps(note) + "\n")
        mood = random.random()
        if mood < 0.05:
            time.sleep(3)
        elif mood < 0.5:
            time.sleep(random.uniform(0, 0.2))
        code, body = (500, b"no") if 0.5 < mood < 0.53 else (200, json.dumps(self._answer(question, mood)).encode())
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, question: dict[str, Any], mood: float) -> dict[str, Any]:
        decision = question["decision"]
        # now and then the answer is as old as the budget again, and is asked about once more
        age_ms = 5_000 if 0.55 < mood < 0.7 else 5
        answer = {name: decision[name] for name in ("action", "confidence", "value_minor", "currency", "attributes")}
        answer["observed_at_ms"] = max(decision["observed_at_ms"] + 1, time.time_ns() // 1_000_000 - age_ms)
        return {**answer, "entity": "somebody else"} if 0.53 < mood < 0.55 else answer

    def log_message(self, format: str, *args: Any) -> None:
        """The notes are enough."""


def main() -> None:
    port, notes = int(sys.argv[1]), Path(sys.argv[2])
    Handler.notes = notes
    ThreadingHTTPServer.allow_reuse_address = True
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
