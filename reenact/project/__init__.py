"""The timeline: a project says which source drives which channel of which avatar, and when."""
