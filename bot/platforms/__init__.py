"""Where people write: one module for each platform, all of the shape in `base`."""
