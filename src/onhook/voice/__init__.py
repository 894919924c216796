"""The voice core: what hears, times and records a call, in the line process beside the media. No agent runs here."""
