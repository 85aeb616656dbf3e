"""The store as a resumable run of minibatches."""
