"""Training the compact loss network: VGG-19's judgement in a tenth of its arithmetic."""
