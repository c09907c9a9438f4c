"""The exact method: Gatys et al., optimising the pixels themselves.

May import `io`, `machine`, `losses`.
"""
