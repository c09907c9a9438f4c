"""What reproduces papers and our own figures: evaluations, comparisons, benchmarks, studies, distillation.

May import everything but `diagnosis` and `cli`.
"""
