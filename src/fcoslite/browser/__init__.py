"""A page on this machine for whoever has its address: the server, one browser at a time, what pages look like."""
