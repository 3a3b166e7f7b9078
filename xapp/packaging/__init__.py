"""What a platform installs, generated from the configuration's model: descriptor, schema, Grafana dashboard. May
import xapp.config and xapp.monitoring; nothing that runs imports it.
"""
