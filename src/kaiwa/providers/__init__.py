"""The only code that speaks to outside services."""
