"""One study a module, each with `run(study) -> Report`; found by name through `training.experiments.registry`;
nothing imports a study by name. May import policy, training.experiments and all of training that these may.
"""
