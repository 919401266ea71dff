"""The files in the bucket: decisions of big batches, and indexes of their clients."""
