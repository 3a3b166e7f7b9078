"""Cell state to prompt: `compact` is our own small vocabulary, a few tokens per UE; `text` a language model's words.
May import policy's own modules up to the grammar, schedulers (what they would do is shown) and plug_ins (their
fields); knows nothing of networks.
"""
