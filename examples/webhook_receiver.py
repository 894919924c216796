"""Receive webhooks of onhook: check the signature (Standard Webhooks), print the event, answer 204. No packages needed.

WEBHOOK_SECRET=whsec_... python examples/webhook_receiver.py 127.0.0.1:9000
"""

import base64
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
SEEN: set[str] = set()  # a table of your database, in real life: a delivery may come twice


class Receiver(BaseHTTPRequestHandler):
    """Answers one delivery."""

    def do_POST(self) -> None:
        """Answer 204 if the delivery is from onhook, and not older than five minutes; else 401."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        delivery_id, sent_at = self.headers.get("webhook-id", ""), self.headers.get("webhook-timestamp", "")
        digest = hmac.digest(KEY, f"{delivery_id}.{sent_at}.".encode() + body, "sha256")
        expected = b"v1," + base64.b64encode(digest)  # while a secret is being changed there are two signatures
        given = self.headers.get("webhook-signature", "").encode().split()
        good = any(hmac.compare_digest(expected, one) for one in given) and abs(time.time() - int(sent_at)) < 300
        if good and delivery_id not in SEEN:
            event = json.loads(body)
            print(event.get("type") or event["event"], event.get("call_id", "-"), flush=True)
            SEEN.add(delivery_id)
        self.send_response(204 if good else 401)
        self.end_headers()


if __name__ == "__main__":
    host, port = sys.argv[1].split(":")
    print(f"waiting for webhooks at http://{sys.argv[1]}", flush=True)
    ThreadingHTTPServer((host, int(port)), Receiver).serve_forever()
