"""What a person sees in a terminal while cells run, and tables of plain text."""
