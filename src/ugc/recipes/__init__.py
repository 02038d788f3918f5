"""Floor 6: recipes as tables, one row a run."""
