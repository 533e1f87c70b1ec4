"""Behaviour: what each principal usually asks of this node, and what is done when it asks otherwise. It can only narrow.

Read ``window`` (what is counted), ``baseline`` (what is usual, frozen), ``watched`` (the sums that trip), ``behaviour``
(the table, and what follows).
"""
