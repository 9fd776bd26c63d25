"""What lies on disk: manifest, plan, layout, dtypes. Imports no other floor of the store."""
