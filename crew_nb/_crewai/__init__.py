"""The way in: all that knows CrewAI.

What can be kicked off and how it is copied, checked, run and heard; every name of CrewAI's stands here. Imports the
ground only; knows neither the board nor the record.
"""
