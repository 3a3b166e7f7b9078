"""Pretrained language models that read and write text: the prompt's spelling, the token tree, the model, its
decoding and its bundle. May import policy.leader_models and policy.prompt; transformers only where a model is
built.
"""
