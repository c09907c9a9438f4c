"""Running exported networks through ONNX Runtime. Nothing here imports torch."""
