"""Runs one turn: a question in, an answer out, both kept."""
