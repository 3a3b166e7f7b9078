"""`stackmac soak`: the lab under random faults, and a ledger of what came of them. What counts as harm is judged from
bytes on the wire and by the gNB's MAC: the judges import neither grammar nor guard. May import policy, training's
progress bar and simulator, and all of xapp.
"""
