"""Floor 0: registry, config, clock, images, device, run folder, log. Knows neither GANs nor networks."""
