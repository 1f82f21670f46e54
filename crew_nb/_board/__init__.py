"""The way out: what people see of a batch, drawn from its state alone.

The live widget and its front end, static HTML, text. Imports the ground only; knows neither CrewAI nor the record.
"""
