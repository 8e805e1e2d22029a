"""Provenance of what is exported: who says that it is synthetic, of whom, driven by what, with which consent."""
