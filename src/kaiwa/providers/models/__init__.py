"""One file per kind of model server; the file name is the kind in the settings."""
