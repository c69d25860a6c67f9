"""Models that tell how well passages answer a question."""
