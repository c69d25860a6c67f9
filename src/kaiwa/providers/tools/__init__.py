"""The tools an agent can be given: built-in ones, and what makes them of an app's entries."""
