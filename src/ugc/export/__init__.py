"""Floor 3: saved nets (self-describing folders) and what is made of them."""
