"""One OpenTelemetry trace per call, made of its log when it is over."""
