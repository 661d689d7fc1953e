"""What a person sees: tables, pictures, JSON."""
