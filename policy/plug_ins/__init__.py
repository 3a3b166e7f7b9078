"""Anyone's own code: found by name, and fields it adds to the prompt. May import policy's cell state and errors."""
