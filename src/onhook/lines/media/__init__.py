"""The media path: RTP, G.711, keys, play-out. Everything inside is mu-law at 8 kHz in frames of 20 ms."""
