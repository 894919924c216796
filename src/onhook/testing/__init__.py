"""Parts for tests, shipped to users: fakes of the ports and a skippable clock."""
