"""HTTP servers, each in a thread of its own, and the xApp's routes: health, configuration, metrics, notifications.
Imports nothing of the project.
"""
