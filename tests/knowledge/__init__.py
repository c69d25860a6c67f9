"""What is found in knowledge bases, on every engine."""
