"""The memory: what is kept of runs, on disk and in files, and what a run is known by.

Imports the ground only; knows neither CrewAI nor the board: outputs are plain trees here.
"""
