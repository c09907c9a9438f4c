"""Pictures, folders, downloads and styles as files, and arithmetic on frames that needs no network.

May import no other package. All but `tensors` work without torch.
"""
