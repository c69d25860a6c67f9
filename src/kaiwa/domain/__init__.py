"""The product's words and rules; no I/O, no clock, no randomness."""
