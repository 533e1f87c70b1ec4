"""The shares that a node keeps on its disks, and the byte protocol to them."""
