"""How old decisions are, stage by stage, as the topics tell it: the last minutes, kept up to date."""
