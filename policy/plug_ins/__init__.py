"""Anyone's own code: found by name, and fields that it adds to the prompt. May import the cell's state and errors."""
