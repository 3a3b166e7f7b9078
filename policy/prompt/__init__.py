"""Cell state to prompt: `compact` is our own small vocabulary, a few tokens per UE; `text` a language model's words.

May import policy's state, intent, limits and allocation; knows nothing of networks.
"""
