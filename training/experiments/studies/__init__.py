"""One study a module, each with `run(study) -> Report`; found by name through `training.experiments.registry`. May
import training.experiments and the rest of training; nothing imports a study by name.
"""
