"""The domain: what a call is, which states it has, and why it ended. No I/O, no imports of ours."""
