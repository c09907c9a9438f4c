"""Pictures, folders, downloads and styles as files, and arithmetic on frames that needs no network.

May import machine. All but `tensors` work without torch.
"""
