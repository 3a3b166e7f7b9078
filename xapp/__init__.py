"""Runs beside the RAN: E2 over RMR, the control loop, and the lab that stands in for the platform. May import `policy`;
only `xapp.lab` and `xapp.cli` may import `training`, and every command what commands share (training.command_line). Its
folders are layers (import-linter, pyproject.toml): each imports what stands below it, and nothing imports back up.
"""
