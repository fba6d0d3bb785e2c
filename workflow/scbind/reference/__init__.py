"""Preparing a genome and its mappability."""
