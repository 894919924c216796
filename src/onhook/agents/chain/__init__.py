"""An agent of three providers in a chain: speech to text, a chat model, text to speech."""
