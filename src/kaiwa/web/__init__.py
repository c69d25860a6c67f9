"""The browser pages, a client of the API like any other."""
