"""What speaks on a call. Nothing here owns a call: hanging up never waits for an agent."""
