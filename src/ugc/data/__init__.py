"""Floor 2: what the networks see. Data sets, label splits, the decoded cache and the stream of batches."""
