"""The exact method: Gatys et al., optimising the pixels themselves.

May import `io`, `losses`, and `inference` for what a trained network paints first.
"""
