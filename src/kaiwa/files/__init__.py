"""What files are: their kind by their bytes, pictures made fit, documents read in a child."""
