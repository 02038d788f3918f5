"""Floor 4: one file a method."""
