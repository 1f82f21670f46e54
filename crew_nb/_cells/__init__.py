"""The doors that a cell uses: the verbs, the launcher, the hints, and where a batch is shown.

Imports all that is below; nothing imports a door.
"""
