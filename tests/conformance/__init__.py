"""Real controllers, reproduced: what upstream tests say, held against the product."""
