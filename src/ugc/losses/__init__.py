"""Floor 2: pure functions of tensors."""
