"""The fast network beside the exact method."""
