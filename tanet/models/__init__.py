"""Networks: 2D backbones, temporal modules and their insertion, and the factory that builds them."""
