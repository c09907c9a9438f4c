"""Renderers of the sample pictures: numpy, OpenCV and fixed seeds, no photograph involved.

Arrays are float32 unless said otherwise. Axis letters: H and W height and width in pixels,
N points or rays, 3 either x, y, z (y up, metres) or red, green, blue (linear light).
"""
