"""Training the compact loss network: VGG-19's judgement in a ninth of its arithmetic."""
