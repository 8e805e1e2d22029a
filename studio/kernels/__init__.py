"""Compiled operations and their backends, one public function each."""
