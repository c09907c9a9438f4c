"""Parts of `fastnst webcam`: capture, painting in time, keys, screen, recording."""
