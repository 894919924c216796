"""Webhooks: from the outbox to somebody else's HTTP server, at least once, signed, and never to our own network."""
