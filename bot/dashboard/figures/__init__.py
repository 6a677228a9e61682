"""What the pages show, as frozen values made from the store, the engine and the learning half."""
