"""What the adapters to cloud providers share: keys, deadlines, and connections that can always be let go of at once."""
