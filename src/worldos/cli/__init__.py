"""The command ``wos``: nouns and verbs, ``--json`` everywhere, errors that say what to do next."""
