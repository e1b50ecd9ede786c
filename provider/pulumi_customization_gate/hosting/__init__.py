"""What the hosts of the lifecycles have in common: the dynamic providers, and the native provider."""
