"""A first recipe for what somebody wants: looked up in the stores that are there, sized, written with comments."""
