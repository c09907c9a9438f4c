"""Pictures larger than memory: a network's graph cut into passes over tiles. `tiles` is the public side.

Never imports torch.

May import `io`, `backends`.
"""
