"""Decontamination shown: planted leaks found, innocents kept, its rate, its memory."""
