"""One module a tab: its components and its handlers."""
