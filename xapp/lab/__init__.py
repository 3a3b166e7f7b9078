"""RIC and gNB on loopback around a real xApp: started, watched, summed up, compared with the same world in the
simulator. May import policy, training, xapp.e2, http, rmr and quotas' arithmetic; of the xApp, which is a process of
its own, only how it is started (run.options) and where it records (record.part_files).
"""
