"""How rows become features: pixels made ahead, teachers asked batch by batch, one shard written during the next."""
