"""Feed-forward networks: their architectures, their file of weights, and their export to ONNX.

May import `io`, `backends` (the contract of exported files).
"""
