"""Kinds of voices: a file is a kind, loaded when it is first used."""
