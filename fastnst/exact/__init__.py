"""The exact method: Gatys et al., optimising the pixels themselves.

May import `io`, `machine`, `losses`, and `inference` for what a trained network paints first.
"""
