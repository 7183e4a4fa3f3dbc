"""The audit trail: what is recorded, how a chain of records proves itself, and what the records say when asked."""
