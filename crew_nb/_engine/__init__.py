"""The work: the loop that runs things, and a batch's way over it.

Slots, the gate before LLM calls, limits, prices, retries, people who are asked. Imports the ways in and out, the
record and the ground.
"""
