"""The child process that listens into a recording, and what it and the server say to each other."""
