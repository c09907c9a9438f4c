"""Pictures, folders, downloads and styles as files, and arithmetic on frames that needs no network.

May import `fastnst.errors` only. All but `tensors` work without torch.
"""
