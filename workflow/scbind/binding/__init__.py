"""Binding per cell: windows, inference in shards, the store, tracks and activity."""
