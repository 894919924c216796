"""The Anunzi calls API, and the Retell API it descends from: `/v2` and `/v3`."""
