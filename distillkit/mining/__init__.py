"""The parts of mining: vectors of a store, searches over them, what each would cost, and how true its answers are."""
