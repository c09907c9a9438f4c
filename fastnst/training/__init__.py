"""Training a feed-forward network on a style image."""
