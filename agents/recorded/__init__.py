"""Reading again what the topics recorded of a stretch of time: shared by all that replay."""
