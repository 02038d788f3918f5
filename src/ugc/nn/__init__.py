"""Floor 1: elastic layers with one slice rule, architectures, shrinking, cost, backbones and SSIM."""
