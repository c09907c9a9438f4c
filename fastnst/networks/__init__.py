"""Feed-forward image transformation networks."""
