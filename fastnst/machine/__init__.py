"""What this computer has: processors, memory, GPUs, packages for training.

May import `fastnst.errors` only.
"""
