"""Bad input: whatever is read or passed in may be broken, and is answered or refused, in one line, and nothing else happens.

``mutate`` breaks bytes, texts and numbers; the rooms named after a source (``machine``, ``archive``, ``snapshot``, ``dump``,
``trace``, ``log``, ``arguments``, ``zone``, ``consumers``) make something sound and break it; ``judge`` looks at what came of
it; ``campaign`` runs many cases, each batch in a process of its own.
"""
