"""RIC and gNB on loopback around a real xApp: started, watched, summed up, compared with the same world in the
simulator. May import policy, training, xapp.e2, http and rmr, and the arithmetic of xapp.quotas; nothing of the xApp
that decides, which is a process of its own.
"""
