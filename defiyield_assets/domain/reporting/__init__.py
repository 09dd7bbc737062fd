"""What people read in the morning."""
