"""What readers and writers of foreign formats share: files, cameras, lenses, footage and FLAME parameters."""
