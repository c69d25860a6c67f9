"""What listens: each kind is a file here, loaded when it is set up."""
