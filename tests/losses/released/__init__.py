"""Each paper's golden cases, given to our own code: one function a method, of a case, its inputs and a mode."""
