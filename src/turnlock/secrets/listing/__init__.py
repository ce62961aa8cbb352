"""Lists and search: filters, terms, the index, pages, batches."""
