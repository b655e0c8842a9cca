"""Networks that classify video clips: 2D networks into which temporal modules are inserted."""
