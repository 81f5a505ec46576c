"""Photographs and, beside them, masks: pictures of one channel whose values are the classes of pixels."""
