"""The perceptual losses that the exact and the fast method share, and the loss networks that judge.

May import `io`.
"""
