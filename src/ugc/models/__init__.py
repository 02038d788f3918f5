"""Floor 2: generator families, one file each, and discriminators."""
