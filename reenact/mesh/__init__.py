"""An avatar's mesh for other programs: the whole head, a texture of what the avatar looks like, a skeleton's motion."""
