"""What everything stands on: files, places, the machine."""
