"""What is said of a loop that cannot go on, or closes with something open: who waits for whom, and where.

Owns the survey of tasks and its words. Nothing here is loaded until there is something to report.
"""
