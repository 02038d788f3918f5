"""Floor 3: players and schedules."""
