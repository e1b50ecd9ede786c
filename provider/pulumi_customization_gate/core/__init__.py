"""The pure core: what a verdict is and how it is reached. It knows no server and no program that uses it."""
