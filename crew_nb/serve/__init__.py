"""Crews behind FastAPI: a router that any app can include, and a server that leaves the kernel's loop alone.

A client sees statuses, texts and errors by type and message; a traceback, a prompt or a known secret never leaves.
Needs `pip install crew-nb[serve]`. Imports the handles and what is below; knows no cell.
"""

from crew_nb.serve.router import router as router
from crew_nb.serve.server import Server as Server
from crew_nb.serve.server import start as start

__all__ = ["Server", "router", "start"]
