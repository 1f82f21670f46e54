"""What the verbs give back: a run, a batch, their joined results.

Any thread may call them. Imports the engine, the ways and the ground; knows no cluster and no door.
"""
