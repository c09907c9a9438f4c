"""Training a feed-forward network on a style image.

May import `io`, `machine`, `losses`, `models`, `metrics`.
"""
