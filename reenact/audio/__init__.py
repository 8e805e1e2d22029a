"""Speech to codes: phones and articulation from text, transcripts or sound alone."""
