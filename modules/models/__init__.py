"""Networks: encoders, poolings, heads; torch alone."""
