"""The web player: a page, a worker, and the avatar packed for them."""
