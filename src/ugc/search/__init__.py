"""Floor 3: choosing an architecture under a budget. Is handed score(arch) and cost(arch); knows no network."""
