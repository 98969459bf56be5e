"""Recurrent controllers: networks that write candidates, and learn from what those were worth."""
