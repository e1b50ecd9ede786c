"""What a Pulumi program writes, and the dynamic providers behind it."""
