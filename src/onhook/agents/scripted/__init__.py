"""The agent that needs nothing but this machine: a script, espeak-ng, a small grammar and the keys of the phone."""
