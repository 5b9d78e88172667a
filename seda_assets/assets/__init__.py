"""One module per stage of the flow, in its order: load → one function of `seda` → write."""
