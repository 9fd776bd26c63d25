"""Sources yield `Sample`s with stable keys. One kind is one file; the folder is the registry."""
