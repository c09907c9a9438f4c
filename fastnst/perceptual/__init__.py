"""The perceptual loss that the exact and the fast method share."""
