"""Numbered SQL files, applied in order by `onhook.store.sqlite_migrate`; a published one is never changed."""
