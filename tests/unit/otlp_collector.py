"""A collector of OpenTelemetry traces on loopback, over OTLP/HTTP."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans


class Collector(HTTPServer):
    """Takes everything, in a thread of its own, until `stop`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, bytes]] = []
        """The path and the body of each."""
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def service(self) -> str:
        """Whose traces came last."""
        attributes = self._resources()[-1].resource.attributes
        return next(str(one.value.string_value) for one in attributes if one.key == "service.name")

    def scopes(self, path: str) -> list[ScopeSpans]:
        """Return the spans that came to a path, by who made them."""
        return [scope for resource in self._resources(path) for scope in resource.scope_spans]

    def trace_ids(self) -> set[str]:
        """Return the ids of all traces, in hexadecimal."""
        return {span.trace_id.hex() for scope in self.scopes("/v1/traces") for span in scope.spans}

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join(5)

    def _resources(self, path: str = "/v1/traces") -> list[ResourceSpans]:
        bodies = [body for asked, body in self.requests if asked == path]
        return [one for body in bodies for one in ExportTraceServiceRequest.FromString(body).resource_spans]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
