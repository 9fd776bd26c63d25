"""Does an exported student answer as the student itself? Real pictures and texts, both asked, and what follows."""
