"""The TalkOver API under `/api/v1`, as its clients know it."""
