"""onhook's own API under `/v1`: everything the server knows, with the proof."""
