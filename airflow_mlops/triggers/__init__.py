"""Async waiters: plain data in, one event out."""
