"""Figures of a node: what its parts count and time as they work, and how Prometheus reads them."""
