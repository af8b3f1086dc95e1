"""The desk: what people look at and answer. Its store follows the topics; what they say goes to the topics first."""
