"""The ground: plain data, and the words for it.

What happened, what is known of a run, what was asked for, what went wrong, which kernel this is. Imports nothing of
crew_nb, no CrewAI, and nothing that draws.
"""
