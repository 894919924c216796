"""Durable state: one port (`store.py`), SQLite behind it, an in-memory fake in `onhook.testing`."""
