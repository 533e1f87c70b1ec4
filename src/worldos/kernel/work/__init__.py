"""Work: the line and the queues of a site as one replicated state, kept by the site's council (pure)."""
