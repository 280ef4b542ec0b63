"""What may be reached, and how: URLs, addresses, sockets with deadlines, bodies with caps."""
