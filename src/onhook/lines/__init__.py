"""Telephony: one port (`engine.py`) and the engines behind it."""
