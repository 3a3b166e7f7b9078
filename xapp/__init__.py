"""Runs beside the RAN: E2 over RMR, the control loop, and the lab that stands in for the platform. Its folders are
layers (import-linter): each imports what stands below it. May import policy; training only the lab, soak and the
command line, and every command what commands share (training.command_line).
"""
