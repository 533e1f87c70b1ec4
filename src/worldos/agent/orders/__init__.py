"""What programs on this machine may ask their agent by name, by subject; ``orders.Orders`` finds them all."""
