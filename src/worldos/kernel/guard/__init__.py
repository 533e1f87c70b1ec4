"""The guard: what a high-impact command must have before this node carries it out."""
