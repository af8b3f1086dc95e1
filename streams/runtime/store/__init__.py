"""The relational store: what people look at, made of the topics and made anew from them at any time."""
