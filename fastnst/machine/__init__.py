"""What this computer has: processors, memory, GPUs.

May import `fastnst.errors` only.
"""
