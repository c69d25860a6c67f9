"""Models that turn texts into vectors; each module makes those of one kind."""
