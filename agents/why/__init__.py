"""Why: the whole story of one decision, told from the topics alone."""
