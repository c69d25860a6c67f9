"""Who knows what must not be said."""
