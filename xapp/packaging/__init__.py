"""What a platform installs, generated from the configuration's model: descriptor, schema, Grafana dashboard. May import
xapp.config, rmr, ric, a1 and monitoring; of what runs only xapp.run imports it, to tell the platform who it is.
"""
