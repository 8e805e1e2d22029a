"""The control panel's tabs, one file each."""
