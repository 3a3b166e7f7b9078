"""Control of today's gNBs: from an allocation to PRB quotas, the book of what is in force, its store, its encoder. May
import policy, xapp.config, e2, ric and control.
"""
