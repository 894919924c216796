"""HTTP: two existing wire APIs, TalkOver and Anunzi/Retell, spoken unchanged, and onhook's own."""
