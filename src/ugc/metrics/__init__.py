"""How good a set of translated images is: pixels against their targets, and features -> statistics -> number."""
