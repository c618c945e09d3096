"""What all rooms lean on: checks at the door, work in parallel, files written whole."""
