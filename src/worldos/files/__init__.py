"""Files of an owner, spread over all machines: what programs and people use."""
