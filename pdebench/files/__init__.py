"""Files read and written with care: whole or not at all, plain data only, checked. Imports no torch before it must."""
