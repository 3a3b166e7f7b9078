"""Pretrained language models that read and write text: the prompt's spelling, the token tree, the model, its decoding
and its bundle. May import policy.leader_models, policy.prompt and policy's own modules up to the grammar;
transformers only where a model is built.
"""
