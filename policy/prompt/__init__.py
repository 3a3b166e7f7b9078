"""Cell state to prompt: `compact` is our own small vocabulary, a few tokens per UE."""
