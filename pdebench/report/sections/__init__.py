"""The sections of the page: one module each that reads tables, with the partial that shows what it found."""
