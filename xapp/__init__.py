"""Runs beside the RAN: E2 over RMR, the control loop, and the lab that stands in for the platform. May import `policy`
and `command_line`; only `xapp.lab` and `xapp.cli` may import `training`. Its folders are layers (import-linter,
pyproject.toml): each imports what stands below it, and nothing imports back up.
"""
