"""The audit log's integrity: a chain of seals over its entries, checkpoints outside the database, and their check."""
