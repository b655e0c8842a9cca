"""Networks: 2D backbones, temporal modules, their insertion, and the factory that builds them."""
