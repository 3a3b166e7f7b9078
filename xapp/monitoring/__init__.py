"""What an operator watches: metrics, logs, the conditions of alarms, symptom data. May import xapp.config,
xapp.rmr and xapp.ric.
"""
