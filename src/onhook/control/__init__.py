"""Call control: one handler per command, over the ports. `end.py` alone ends calls."""
