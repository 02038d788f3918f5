"""Floor 5: recipe, the one loop, evaluation, the pipeline and its report."""
