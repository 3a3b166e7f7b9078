"""The xApp's HTTP server, in a thread of its own, and its routes: health, configuration, metrics, notifications.
Imports nothing of the project.
"""
