"""What programs say: ``use()`` and its handles. All of it loads late: ``import worldos`` costs nothing."""
