"""Parts of scripts/daytona-diff: the packages, what a generated client says of its calls, and what differs between two."""
